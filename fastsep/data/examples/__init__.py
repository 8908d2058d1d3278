"""Made data sets to try your-own-frames on: nothing in the presets was tuned to them."""
