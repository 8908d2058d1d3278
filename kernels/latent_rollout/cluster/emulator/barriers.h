// Everything that orders: operations of a warp, barriers, mbarriers, and the stores that these count.
#pragma once
#include "memory.h"

namespace emu {
inline void release(Clock& into) {
  into.join(current->clock);
  u32& own = into.at[current->id / 32];
  own = std::max(own, warp().epoch++);
}

void collective(int operation, const u32* in, int words, Compute compute, u32* out, int results) {
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

inline void arrive(Barrier& b, int count, bool wait) {
  const u32 generation = b.generation;
  ++progress;
  release(b.gathered);
  if (++b.arrived == count) b.arrived = 0, ++b.generation, b.done.join(b.gathered);
  if (!wait) return;
  while (b.generation == generation) yield();
  current->clock.join(b.done);
}
void named_barrier(int id, int threads, bool wait) { arrive(program().named[id], threads, wait); }
void cluster_barrier() { arrive(whole_cluster, ALL_THREADS, true); }

inline Mbarrier& mbarrier(Program& p, u32 at, bool made = true) {
  if (at % 8 || at / 8 >= p.mbarriers.size()) fail("an mbarrier outside shared memory or misaligned");
  Mbarrier& b = p.mbarriers[at / 8];
  if (made && !b.made) fail("an mbarrier that was not initialized");
  return b;
}
inline void complete(Mbarrier& b) {
  if (b.pending == 0 && b.bytes == 0) ++b.phase, b.pending = b.count, b.done.join(b.gathered), ++progress;
}
void mbar_init(u32 bar, u32 arrivals) {
  Mbarrier& b = mbarrier(program(), bar, false);
  b = Mbarrier();
  b.count = b.pending = arrivals, b.made = true;
}
void mbar_expect(u32 bar, u32 bytes) {
  Mbarrier& b = mbarrier(program(), bar);
  release(b.gathered);
  b.bytes += bytes;
  if (--b.pending < 0) fail("more arrivals than an mbarrier expects");
  complete(b);
}
void mbar_wait(u32 bar, u32 parity) {
  Mbarrier& b = mbarrier(program(), bar);
  while ((b.phase & 1) == parity) yield();
  b.awaited = b.phase;
  current->clock.join(b.done);
  ++progress;
}

void send(u32 at, u32 bar, int words, const u32* data) {
  Message m;
  m.program = at >> 24, m.at = at & 0xffffff, m.bar = bar & 0xffffff, m.words = words;
  if (m.program != bar >> 24) fail("data and mbarrier of a store in different programs");
  if (m.program >= PROGRAMS) fail("a store to a program that there is not");
  if (m.at % (4 * words)) fail("a misaligned store to another program");
  if (m.at + 4 * words > program().shared.size()) fail("a store beyond another program's shared memory");
  mbarrier(programs[m.program], m.bar);
  std::memcpy(m.data, data, 4 * words);
  m.from = current->id, m.epoch = warp().epoch, m.clock = current->clock;
  release(m.clock);
  mail.push_back(m);
  ++report.messages;
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
