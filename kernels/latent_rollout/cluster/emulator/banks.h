// What shared memory costs: the n-th access of each lane of a warp belongs together, and takes a cycle for every word
// that two of its lanes want of one bank. Wider accesses go in halves and quarters of a warp, as on the GPU.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

namespace emu {
struct Banks {
  struct Together {
    int count = 0, bytes = 0;
    uint32_t at[32];
    bool on[32] = {};
  };
  std::vector<std::vector<Together>> open;     // by warp
  std::vector<std::vector<uint32_t>> counted;  // accesses by warp and lane
  uint64_t cycles = 0, least = 0;

  void start(int warps) {
    open.assign(warps, {});
    counted.assign(warps, std::vector<uint32_t>(32, 0));
  }

  void access(int warp, int lane, uint32_t at, int bytes) {
    const uint32_t n = counted[warp][lane]++;
    auto& list = open[warp];
    if (list.size() <= n) list.resize(n + 1);
    Together& t = list[n];
    t.bytes = bytes, t.at[lane] = at, t.on[lane] = true;
    if (++t.count == 32) settle(t);
  }

  void settle(const Together& t) {
    const int lanes = t.bytes <= 4 ? 32 : t.bytes == 8 ? 16 : 8;
    for (int first = 0; first < 32; first += lanes) {
      std::vector<uint32_t> wanted[32];
      size_t most = 0;
      for (int lane = first; lane < first + lanes; ++lane)
        for (int k = 0; k < t.bytes / 4; ++k) {
          const uint32_t word = t.at[lane] / 4 + k;
          auto& bank = wanted[word % 32];
          if (std::find(bank.begin(), bank.end(), word) == bank.end()) bank.push_back(word);
          most = std::max(most, bank.size());
        }
      cycles += most;
    }
    least += std::max(1, t.bytes / 4);
  }
};
}  // namespace emu
