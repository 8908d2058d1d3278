// Which accesses are ordered, by vector clocks: an access that no barrier orders after an earlier one is a race.
//
// A clock has an entry a warp of the cluster. A thread acquires for itself; what it releases counts for its warp, whose
// lanes run together. Every 4 bytes of shared memory remember who wrote them last, and who read them in each warp.
#pragma once
#include "machine.h"

namespace emu {
struct Clock {
  u32 at[ALL_WARPS] = {};
  void join(const Clock& other) {
    for (int k = 0; k < ALL_WARPS; ++k) at[k] = at[k] > other.at[k] ? at[k] : other.at[k];
  }
};

struct Access {  // the last of a kind: by whom and when
  int thread = -1;
  u32 at = 0;
};

struct Word {
  Access write, reads[WARPS];
};

constexpr int SEVERAL = 1 << 30;  // lanes of a warp, in a read

// Both take threads numbered over the cluster; `clock` is the acting thread's.
inline bool reads_unordered(const Word& word, int thread, const Clock& clock) {
  const int writer = word.write.thread;
  return writer >= 0 && writer != thread && word.write.at > clock.at[writer / 32];
}
inline bool writes_unordered(const Word& word, int program, int thread, const Clock& clock) {
  for (int k = 0; k < WARPS; ++k) {
    const Access& read = word.reads[k];
    if (read.thread != thread && read.at > clock.at[program * WARPS + k]) return true;
  }
  return false;
}
}  // namespace emu
