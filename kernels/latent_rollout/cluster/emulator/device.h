// The functions of cuda/device.h on the emulated machine.
#pragma once
#include "machine.h"
#include "numbers.h"

#define DEVICE inline
#define KERNEL(name, ...) static void name(__VA_ARGS__)

struct uint2 {
  u32 x, y;
};
struct uint4 {
  u32 x, y, z, w;
};

// Who a thread is.

inline int thread_index() { return emu::thread_id() % emu::THREADS; }
inline int block_index() { return emu::first_block() + emu::thread_id() / emu::THREADS; }
inline int grid_size() { return emu::grid_blocks(); }
inline u32 shared_base() { return 0; }
inline u32 clock_now() { return 0; }
inline u32 cluster_rank() { return emu::thread_id() / emu::THREADS; }

// Bits.

inline float as_float(u32 v) { return emu::float_of(v); }
inline u32 as_u32(float v) { return emu::bits_of(v); }
inline u32 pack(float low, float high) { return emu::narrow(low) | emu::narrow(high) << 16; }
inline u32 pack_relu(float low, float high) { return pack(low > 0 ? low : 0, high > 0 ? high : 0); }
inline u32 widen(u32 v) { return as_u32(emu::wide(v)); }
inline u32 prmt(u32 a, u32 b, u32 selector) {
  const u64 bytes = a | (u64)b << 32;
  u32 d = 0;
  for (int k = 0; k < 4; ++k) {
    const u32 n = selector >> 4 * k & 15;
    u32 byte = bytes >> 8 * (n & 7) & 255;
    if (n & 8) byte = byte & 128 ? 255 : 0;
    d |= byte << 8 * k;
  }
  return d;
}

// Between the lanes of a warp: fragments as the PTX manual lays them out, lane = 4·g + q.

enum Operation { MMA, MOVMATRIX, SHUFFLE, UNIFORM, RECONVERGE };

[[gnu::noinline]] inline void mma(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  const u32 in[10] = {a0, a1, a2, a3, b0, b1, as_u32(c[0]), as_u32(c[1]), as_u32(c[2]), as_u32(c[3])};
  u32 out[4];
  auto multiply = [](u32(*in)[12], u32(*out)[4]) {
    float A[16][16], B[16][8];
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane >> 2, q = lane & 3;
      for (int r = 0; r < 4; ++r) {
        float* at = &A[g + 8 * (r & 1)][2 * q + 8 * (r >> 1)];
        at[0] = emu::low(in[lane][r]), at[1] = emu::high(in[lane][r]);
      }
      for (int r = 0; r < 2; ++r) {
        B[2 * q + 8 * r][g] = emu::low(in[lane][4 + r]);
        B[2 * q + 8 * r + 1][g] = emu::high(in[lane][4 + r]);
      }
    }
    for (int lane = 0; lane < 32; ++lane)
      for (int v = 0; v < 4; ++v) {
        const int row = (lane >> 2) + 8 * (v >> 1), column = 2 * (lane & 3) + (v & 1);
        float sum = as_float(in[lane][6 + v]);
        for (int k = 0; k < 16; ++k) sum += A[row][k] * B[k][column];
        out[lane][v] = as_u32(sum);
      }
  };
  emu::collective(MMA, in, 10, multiply, out, 4);
  for (int v = 0; v < 4; ++v) c[v] = as_float(out[v]);
}
inline u32 movmatrix(u32 v) {
  u32 out;
  auto transpose = [](u32(*in)[12], u32(*out)[4]) {
    u32 M[8][8];
    for (int lane = 0; lane < 32; ++lane)
      for (int k = 0; k < 2; ++k) M[lane >> 2][2 * (lane & 3) + k] = in[lane][0] >> 16 * k & 0xffff;
    for (int lane = 0; lane < 32; ++lane)
      out[lane][0] = M[2 * (lane & 3)][lane >> 2] | M[2 * (lane & 3) + 1][lane >> 2] << 16;
  };
  emu::collective(MOVMATRIX, &v, 1, transpose, &out, 1);
  return out;
}
inline float shfl_xor(float v, int mask) {
  const u32 in[2] = {as_u32(v), (u32)mask};
  u32 out;
  auto exchange = [](u32(*in)[12], u32(*out)[4]) {
    for (int lane = 0; lane < 32; ++lane) out[lane][0] = in[lane ^ in[lane][1]][0];
  };
  emu::collective(SHUFFLE, in, 2, exchange, &out, 1);
  return as_float(out);
}
inline int uniform(int v) {
  const u32 in = v;
  u32 out;
  auto first = [](u32(*in)[12], u32(*out)[4]) {
    for (int lane = 0; lane < 32; ++lane) out[lane][0] = in[0][0];
  };
  emu::collective(UNIFORM, &in, 1, first, &out, 1);
  return (int)out;
}
inline void reconverge() {
  const u32 in = 0;
  u32 out;
  emu::collective(RECONVERGE, &in, 1, [](u32(*)[12], u32(*)[4]) {}, &out, 0);
}

// Memory.

template <class T> inline T load_shared(u32 p) {
  T v;
  emu::load_shared(p, &v, sizeof v);
  return v;
}
inline uint4 lds128(u32 p) { return load_shared<uint4>(p); }
inline uint2 lds64(u32 p) { return load_shared<uint2>(p); }
inline u32 lds32(u32 p) { return load_shared<u32>(p); }
inline void sts128(u32 p, uint4 v) { emu::store_shared(p, &v, sizeof v); }
inline void sts64(u32 p, uint2 v) { emu::store_shared(p, &v, sizeof v); }
inline void sts32(u32 p, u32 v) { emu::store_shared(p, &v, sizeof v); }

template <class T> inline T load_global(const void* p) {
  T v;
  emu::load_global(p, &v, sizeof v);
  return v;
}
inline u32 load_global2(const u16* p) { return load_global<u16>(p); }
inline u32 load_global4(const void* p) { return load_global<u32>(p); }
inline uint2 load_global8(const void* p) { return load_global<uint2>(p); }
inline float load_float(const float* p) { return load_global<float>(p); }
inline uint2 ahead_global8(const void* p) { return load_global<uint2>(p); }
inline u32 ahead_global2(const void* p) { return load_global<u16>(p); }
inline u32 ahead_global1(const void* p) { return load_global<u8>(p); }
inline void store_float(float* p, float v) { emu::store_global(p, &v, sizeof v); }
inline void store_global1(u8* p, u32 v) { emu::store_global(p, &v, 1); }  // the lowest byte: of a little-endian machine
inline void store_global4(void* p, u32 v) { emu::store_global(p, &v, sizeof v); }
inline void store_global8(void* p, uint2 v) { emu::store_global(p, &v, sizeof v); }
inline void store_global16(void* p, uint4 v) { emu::store_global(p, &v, sizeof v); }

inline void copy_ahead16(u32 to, const void* from) { emu::copy_ahead(to, from, 16); }
inline void copy_wait() { emu::copy_wait(); }

// Barriers and mbarriers.

inline void bar_sync(int id, int threads) { emu::named_barrier(id, threads, true); }
inline void bar_arrive(int id, int threads) { emu::named_barrier(id, threads, false); }
inline void cluster_sync() { emu::cluster_barrier(); }
inline void mbar_init(u32 bar, u32 arrivals) { emu::mbar_init(bar, arrivals); }
inline void mbar_init_fence() {}
inline void mbar_expect(u32 bar, u32 bytes) { emu::mbar_expect(bar, bytes); }
inline void mbar_wait(u32 bar, u32 parity) { emu::mbar_wait(bar, parity); }

// To another program's shared memory.

inline u32 mapa(u32 p, u32 rank) { return p | rank << 24; }
inline void st_async4(u32 p, u32 bar, float x, float y, float z, float w) {
  const u32 data[4] = {as_u32(x), as_u32(y), as_u32(z), as_u32(w)};
  emu::send(p, bar, 4, data);
}
inline void st_async2(u32 p, u32 bar, float x, float y) {
  const u32 data[2] = {as_u32(x), as_u32(y)};
  emu::send(p, bar, 2, data);
}
inline void st_async1(u32 p, u32 bar, u32 x) { emu::send(p, bar, 1, &x); }
