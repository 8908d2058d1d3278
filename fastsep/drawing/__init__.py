"""Pictures and animations of frames, codes and scores."""
