// Runs clusters to their end: warps resumed in random order, at random speeds that change now and then; stores in the
// mail delivered late and out of order.
#pragma once
#include "barriers.h"

namespace emu {
constexpr u8 FRESH = 0xcd;       // what shared memory holds at first
constexpr int PATIENCE = 3000;  // rounds without progress that count as a hang

inline void (*body)();
inline void enter() {
  body();
  current->done = true, ++progress;
  for (;;) yield();
}

inline void start_cluster(int cluster, u32 shared_bytes, const Stacks& stacks) {
  block0 = cluster * PROGRAMS;
  threads.assign(ALL_THREADS, {});
  programs.assign(PROGRAMS, {});
  warps.assign(ALL_WARPS, {});
  banks.start(ALL_WARPS);
  mail.clear();
  whole_cluster = {};
  for (Program& p : programs) {
    p.shared.assign(shared_bytes, FRESH);
    p.words.assign(shared_bytes / 4, {});
    p.mbarriers.assign(shared_bytes / 8, {});
  }
  for (int k = 0; k < ALL_THREADS; ++k) {
    threads[k].id = k;
    make_fiber(threads[k].fiber, stacks.at(k), Stacks::SIZE, enter);
  }
}

inline bool resume(int warp) {  // whether all of its lanes are at their end
  bool all = true;
  for (int lane = 0; lane < 32; ++lane) {
    Thread& t = threads[warp * 32 + lane];
    if (t.done) continue;
    current = &t;
    switch_fiber(scheduler, t.fiber);
    current = nullptr;
    if (!failure.empty()) return false;
    all &= t.done;
  }
  return all;
}

inline void check_end() {
  if (!mail.empty()) failure = std::to_string(mail.size()) + " stores that none waited for";
  for (const Program& p : programs)
    for (const Mbarrier& b : p.mbarriers)
      if (b.phase != b.awaited) failure = "stores came that none waited for";
}

inline void run_cluster() {
  std::vector<bool> finished(ALL_WARPS, false);
  std::vector<u32> speed(ALL_WARPS, 128);  // of 256
  int alive = ALL_WARPS, idle = 0;
  u64 last = progress;
  while (alive) {
    if (dice(64) == 0)
      for (u32& s : speed) s = dice(4) ? 255 : dice(256);
    const u32 post = dice(3) == 0 ? 1000 : dice(40);  // of 1000
    for (int k = 0; k < ALL_WARPS; ++k) {
      const int w = dice(ALL_WARPS);
      if (finished[w] || dice(256) > speed[w]) continue;
      if (resume(w)) finished[w] = true, --alive, --programs[w / WARPS].alive;
      if (!mail.empty() && dice(1000) < post) deliver(dice(mail.size()));
      if (!failure.empty()) return;
    }
    report.most_on_the_way = std::max(report.most_on_the_way, (u64)mail.size());
    idle = progress == last ? idle + 1 : 0, last = progress;
    if (idle > PATIENCE) {
      failure = "a hang: no progress, " + std::to_string(mail.size()) + " stores on their way";
      return;
    }
  }
  check_end();
}

const char* run(void (*entry)(), int clusters, u32 shared_bytes, const Buffer* list, int count, u32 seed,
                Report* result) {
  static const Stacks stacks(ALL_THREADS);
  body = entry, blocks = clusters * PROGRAMS;
  failure.clear(), report = {}, banks = {};
  buffers.assign(list, list + count);
  written.assign(count, {});
  for (int k = 0; k < count; ++k)
    if (list[k].output) written[k].assign(list[k].bytes, false);
  for (int cluster = 0; cluster < clusters && failure.empty(); ++cluster) {
    dice.seed(seed + cluster);
    start_cluster(cluster, shared_bytes, stacks);
    run_cluster();
  }
  report.cycles = banks.cycles, report.least_cycles = banks.least;
  *result = report;
  return failure.c_str();
}
}  // namespace emu
