// A cluster on a CPU: its programs, warps, barriers, the stores on their way, and a schedule drawn at random.
#pragma once
#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "banks.h"
#include "fibers.h"
#include "races.h"

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;

namespace emu {
constexpr int THREADS_EMULATED = 32 * WARPS_EMULATED, ALL_THREADS = PROGRAMS_EMULATED * THREADS_EMULATED;
constexpr u8 FRESH = 0xcd;       // what shared memory holds at first
constexpr int PATIENCE = 20000;  // rounds without progress that count as a hang

struct Barrier {  // named, or the cluster's
  int arrived = 0;
  u32 generation = 0;
  Clock gathered, done;
};
struct Mbarrier {
  int count = 0, pending = 0;
  long bytes = 0;  // expected and not yet here; less than none where they come first
  u32 phase = 0, awaited = 0;  // phases that are over, and how many of them somebody waited for
  bool made = false;
  Clock gathered, done;
};
struct Program {
  std::vector<u8> shared;
  std::vector<Word> words;
  Barrier named[16];
  std::vector<Mbarrier> mbarriers;
  int alive = WARPS_EMULATED;
};
struct Warp {  // its collective operation: two rounds of operands, for lanes that are still reading the last
  int arrived = 0, operation = -1;
  u32 generation = 0, epoch = 1;
  u32 in[2][32][12], out[2][32][4];
};
struct Copy {
  u32 to;
  u32 data[4];
};
struct Thread {
  int id;
  bool done = false;
  Fiber fiber;
  Clock clock;
  std::vector<Copy> copies;  // cp.async not yet waited for
};
struct Message {  // st.async on its way
  int program;
  u32 at, bar;
  int words;
  u32 data[4];
  int from;
  u32 epoch;
  Clock clock;
};
struct Buffer {  // of global memory
  const char* name;
  u8* start;
  u64 bytes;
  u64 output;  // each byte may be written once
};
struct Report {
  u64 races, messages, collectives, most_on_the_way, cycles, least_cycles;
};

inline Thread* current;
inline Fiber scheduler;
inline std::vector<Thread> threads;
inline std::vector<Program> programs;
inline std::vector<Warp> warps;
inline std::vector<Message> mail;
inline std::vector<Buffer> buffers;
inline std::vector<std::vector<bool>> written;
inline Barrier cluster_barrier;
inline Banks banks;
inline std::mt19937 rng;
inline int first_block, grid_blocks;
inline u64 progress;
inline Report report;
inline std::string failure;

inline int program_index() { return current->id / THREADS_EMULATED; }
inline Program& program() { return programs[program_index()]; }
inline Warp& warp() { return warps[current->id / 32]; }
inline void yield() { switch_fiber(current->fiber, scheduler); }
inline std::string who(int thread) {
  return "program " + std::to_string(thread / THREADS_EMULATED) + ", warp " +
         std::to_string(thread % THREADS_EMULATED / 32) + ", lane " + std::to_string(thread % 32);
}
[[noreturn]] inline void fail(const std::string& what) {
  if (failure.empty()) failure = what + " (" + who(current->id) + ")";
  for (;;) yield();
}
inline void race(const std::string& what, u32 at, int thread) {
  if (report.races++ == 0) failure = "race: " + what + " at " + std::to_string(at) + " (" + who(thread) + ")";
}

// Shared memory.

inline void note_read(u32 at, int bytes) {
  for (u32 k = at / 4; k < (at + bytes) / 4; ++k) {
    Word& word = program().words[k];
    if (reads_unordered(word, current->id, current->clock)) race("a read of an unordered write", 4 * k, current->id);
    Access& read = word.reads[current->id % THREADS_EMULATED / 32];
    const bool alone = read.at != warp().epoch || read.thread == current->id;
    read = {alone ? current->id : SEVERAL, warp().epoch};
  }
}
inline void note_write(int owner, u32 at, int bytes, int thread, u32 epoch, const Clock& clock) {
  for (u32 k = at / 4; k < (at + bytes) / 4; ++k) {
    Word& word = programs[owner].words[k];
    if (reads_unordered(word, thread, clock)) race("a write over an unordered write", 4 * k, thread);
    if (writes_unordered(word, owner, thread, clock)) race("a write over an unordered read", 4 * k, thread);
    word.write = {thread, epoch};
  }
}
inline void check_shared(u32 at, u32 bytes) {
  if (at % bytes) fail("a misaligned access of shared memory at " + std::to_string(at));
  if (at + bytes > program().shared.size()) fail("an access beyond shared memory at " + std::to_string(at));
}
template <class T> inline T load_shared(u32 at) {
  check_shared(at, sizeof(T));
  note_read(at, sizeof(T));
  banks.access(current->id / 32, current->id % 32, at, sizeof(T));
  T v;
  std::memcpy(&v, &program().shared[at], sizeof(T));
  return v;
}
template <class T> inline void store_shared(u32 at, const T& v, bool counted = true) {
  check_shared(at, sizeof(T));
  note_write(program_index(), at, sizeof(T), current->id, warp().epoch, current->clock);
  if (counted) banks.access(current->id / 32, current->id % 32, at, sizeof(T));
  std::memcpy(&program().shared[at], &v, sizeof(T));
}

// Global memory: inside a buffer, aligned, outputs written once.

inline int buffer_of(const void* p, size_t bytes) {
  if ((uintptr_t)p % bytes) fail("a misaligned access of global memory");
  for (size_t k = 0; k < buffers.size(); ++k)
    if ((u8*)p >= buffers[k].start && (u8*)p + bytes <= buffers[k].start + buffers[k].bytes) return (int)k;
  fail("an access outside every buffer of global memory");
}
template <class T> inline T load_global(const void* p) {
  buffer_of(p, sizeof(T));
  T v;
  std::memcpy(&v, p, sizeof(T));
  return v;
}
template <class T> inline void store_global(void* p, const T& v) {
  const int k = buffer_of(p, sizeof(T));
  if (!buffers[k].output) fail(std::string("a write to the input ") + buffers[k].name);
  for (size_t at = (u8*)p - buffers[k].start, end = at + sizeof(T); at < end; ++at) {
    if (written[k][at]) fail(std::string("a second write to an element of ") + buffers[k].name);
    written[k][at] = true;
  }
  std::memcpy(p, &v, sizeof(T));
}

// Barriers.

inline void release(Clock& into) {
  into.join(current->clock);
  u32& own = into.at[current->id / 32];
  own = std::max(own, warp().epoch++);
}
inline void arrive(Barrier& b, int count, bool wait) {
  const u32 generation = b.generation;
  ++progress;
  release(b.gathered);
  if (++b.arrived == count) b.arrived = 0, ++b.generation, b.done.join(b.gathered);
  if (!wait) return;
  while (b.generation == generation) yield();
  current->clock.join(b.done);
}
inline void complete(Mbarrier& b) {
  if (b.pending == 0 && b.bytes == 0) ++b.phase, b.pending = b.count, b.done.join(b.gathered), ++progress;
}
inline Mbarrier& mbarrier(Program& p, u32 at, bool made = true) {
  if (at % 8 || at / 8 >= p.mbarriers.size()) fail("an mbarrier outside shared memory or misaligned");
  Mbarrier& b = p.mbarriers[at / 8];
  if (made && !b.made) fail("an mbarrier that was not initialized");
  return b;
}

// An operation of all 32 lanes: who comes last computes it for all.
template <class F> inline void collective(int operation, const u32* in, int words, F compute, u32* out, int results) {
  Warp& w = warp();
  const u32 generation = w.generation;
  const int round = generation & 1, lane = current->id % 32;
  if (w.arrived == 0)
    w.operation = operation;
  else if (w.operation != operation)
    fail("lanes of a warp in different operations");
  std::memcpy(w.in[round][lane], in, words * 4);
  if (++w.arrived == 32) {
    compute(w.in[round], w.out[round]);
    w.arrived = 0, ++w.generation, ++progress, ++report.collectives;
  } else {
    while (w.generation == generation) yield();
  }
  std::memcpy(out, w.out[round][lane], results * 4);
}

inline void deliver(size_t k) {
  const Message m = mail[k];
  mail[k] = mail.back(), mail.pop_back();
  Program& p = programs[m.program];
  if (p.alive == 0) failure = "a store to a program that has ended, from " + who(m.from);
  std::memcpy(&p.shared[m.at], m.data, 4 * m.words);
  note_write(m.program, m.at, 4 * m.words, m.from, m.epoch, m.clock);
  Mbarrier& b = p.mbarriers[m.bar / 8];
  b.gathered.join(m.clock);
  b.bytes -= 4 * m.words;
  complete(b);
  ++progress;
}
}  // namespace emu
