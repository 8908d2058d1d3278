// What the machine consists of.
#pragma once
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "banks.h"
#include "fibers.h"
#include "machine.h"
#include "races.h"

namespace emu {
struct Barrier {  // named, or the cluster's
  int arrived = 0;
  u32 generation = 0;
  Clock gathered, done;
};
struct Mbarrier {
  int count = 0, pending = 0;
  long bytes = 0;              // expected and not yet here; less than none where they come first
  u32 phase = 0, awaited = 0;  // phases that are over, and how many of them somebody waited for
  bool made = false;
  Clock gathered, done;
};
struct Program {
  std::vector<u8> shared;
  std::vector<Word> words;
  Barrier named[16];
  std::vector<Mbarrier> mbarriers;
  int alive = WARPS;
};
struct Warp {  // its collective operation: two rounds of operands, for lanes that are still reading the last
  int arrived = 0, operation = -1;
  u32 generation = 0, epoch = 1;
  u32 in[2][32][12], out[2][32][4];
};
struct Copy {
  u32 to, bytes;
  u8 data[16];
};
struct Thread {
  int id;
  bool done = false;
  Fiber fiber;
  Clock clock;
  std::vector<Copy> copies;  // not yet waited for
};
struct Message {  // st.async on its way
  u32 program, at, bar;
  int words;
  u32 data[4];
  int from;
  u32 epoch;
  Clock clock;
};
struct Dice {  // xorshift: the same schedule from a seed everywhere
  u64 state = 1;
  void seed(u32 s) {
    state = 0x9e3779b97f4a7c15ull * (s + 1);
    for (int k = 0; k < 8; ++k) (*this)(2);
  }
  u32 operator()(u32 sides) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (u32)(state >> 32) % sides;
  }
};

inline Thread* current;
inline Fiber scheduler;
inline std::vector<Thread> threads;
inline std::vector<Program> programs;
inline std::vector<Warp> warps;
inline std::vector<Message> mail;
inline std::vector<Buffer> buffers;
inline std::vector<std::vector<bool>> written;  // bytes of outputs
inline Barrier whole_cluster;
inline Banks banks;
inline Dice dice;
inline int block0, blocks;
inline u64 progress;
inline Report report;
inline std::string failure;

inline int program_index() { return current->id / THREADS; }
inline Program& program() { return programs[program_index()]; }
inline Warp& warp() { return warps[current->id / 32]; }
inline void yield() { switch_fiber(current->fiber, scheduler); }

inline std::string who(int thread) {
  return "program " + std::to_string(thread / THREADS) + ", warp " + std::to_string(thread % THREADS / 32) + ", lane " +
         std::to_string(thread % 32);
}
[[noreturn]] inline void fail(const std::string& what) {
  if (failure.empty()) failure = what + " (" + who(current->id) + ")";
  for (;;) yield();
}
inline void race(const char* what, u32 at, int thread) {
  if (report.races++) return;
  failure = std::string("race: ") + what + " at " + std::to_string(at) + " (" + who(thread) + ")";
}
}  // namespace emu
