// What the kernel takes from PTX. The emulator has a header of the same name with the same functions, for a CPU.
#pragma once

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;

#define DEVICE __device__ __forceinline__
#define KERNEL(name, ...) \
  extern "C" __global__ void __cluster_dims__(8, 1, 1) __launch_bounds__(256, 1) name(__VA_ARGS__)

#if HALF
#define OPERAND "f16"
#else
#define OPERAND "bf16"
#endif

extern __shared__ __align__(1024) unsigned char shared_memory[];

// Who a thread is.

DEVICE int thread_index() { return threadIdx.x; }
DEVICE int block_index() { return blockIdx.x; }
DEVICE int grid_size() { return gridDim.x; }
DEVICE u32 shared_base() { return (u32)__cvta_generic_to_shared(shared_memory); }
DEVICE u32 clock_now() {
  u32 cycles;
  asm volatile("mov.u32 %0, %%clock;" : "=r"(cycles)::"memory");
  return cycles;
}
DEVICE u32 cluster_rank() {
  u32 rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

// Between the lanes of a warp.

DEVICE int uniform(int v) { return __shfl_sync(0xffffffffu, v, 0); }
DEVICE void reconverge() { __syncwarp(); }
DEVICE float shfl_xor(float v, int mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }
DEVICE u32 movmatrix(u32 v) {
  u32 d;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(d) : "r"(v));
  return d;
}
DEVICE void mma(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {  // c += a·b
  float d0, d1, d2, d3;
  asm("mma.sync.aligned.m16n8k16.row.col.f32." OPERAND "." OPERAND
      ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
      : "=f"(d0), "=f"(d1), "=f"(d2), "=f"(d3)
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
  c[0] = d0, c[1] = d1, c[2] = d2, c[3] = d3;
}

// Bits.

DEVICE float as_float(u32 v) { return __uint_as_float(v); }
DEVICE u32 as_u32(float v) { return __float_as_uint(v); }
DEVICE u32 pack(float low, float high) {  // two operands
  u32 d;
  asm("cvt.rn." OPERAND "x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
  return d;
}
DEVICE u32 pack_relu(float low, float high) {
  u32 d;
  asm("cvt.rn.relu." OPERAND "x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
  return d;
}
DEVICE u32 widen(u32 v) {  // an operand as float32
#if HALF
  float d;
  asm("cvt.f32.f16 %0, %1;" : "=f"(d) : "h"((u16)v));
  return __float_as_uint(d);
#else
  return v << 16;
#endif
}
DEVICE u32 prmt(u32 a, u32 b, u32 selector) {
  u32 d;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(selector));
  return d;
}

// Shared memory by address. Volatile with a memory clobber: their order among themselves and barriers is the program's.

DEVICE uint4 lds128(u32 p) {
  uint4 v;
  asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(p));
  return v;
}
DEVICE uint2 lds64(u32 p) {
  uint2 v;
  asm volatile("ld.shared.v2.b32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "r"(p));
  return v;
}
DEVICE u32 lds32(u32 p) {
  u32 v;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(v) : "r"(p));
  return v;
}
DEVICE void sts128(u32 p, uint4 v) {
  asm volatile("st.shared.v4.b32 [%0], {%1,%2,%3,%4};" ::"r"(p), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
DEVICE void sts64(u32 p, uint2 v) {
  asm volatile("st.shared.v2.b32 [%0], {%1,%2};" ::"r"(p), "r"(v.x), "r"(v.y) : "memory");
}
DEVICE void sts32(u32 p, u32 v) { asm volatile("st.shared.b32 [%0], %1;" ::"r"(p), "r"(v) : "memory"); }

// Global memory.

DEVICE u32 load_global2(const u16* p) { return __ldg(p); }
DEVICE u32 load_global4(const void* p) { return __ldg((const u32*)p); }
DEVICE uint2 load_global8(const void* p) { return __ldg((const uint2*)p); }
DEVICE void copy_ahead16(u32 to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
DEVICE void copy_wait() { asm volatile("cp.async.wait_all;" ::: "memory"); }
// Read ahead: relaxed and volatile, or the compiler moves the load to where its value is used.
DEVICE uint2 ahead_global8(const void* p) {
  uint2 v;
  asm volatile("ld.relaxed.gpu.global.v2.b32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
  return v;
}
DEVICE u32 ahead_global2(const void* p) {
  u16 v;
  asm volatile("ld.relaxed.gpu.global.b16 %0, [%1];" : "=h"(v) : "l"(p));
  return v;
}
DEVICE u32 ahead_global1(const void* p) {
  u32 v;
  asm volatile("ld.relaxed.gpu.global.u8 %0, [%1];" : "=r"(v) : "l"(p));
  return v;
}
DEVICE float load_float(const float* p) { return *p; }
DEVICE void store_float(float* p, float v) { *p = v; }
DEVICE void store_global1(u8* p, u32 v) { *p = (u8)v; }
DEVICE void store_global16(void* p, uint4 v) { *(uint4*)p = v; }
DEVICE void store_global8(void* p, uint2 v) { *(uint2*)p = v; }
DEVICE void store_global4(void* p, u32 v) { *(u32*)p = v; }

// Barriers of a program, and of the cluster.

DEVICE void bar_sync(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
DEVICE void bar_arrive(int id, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
DEVICE void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// mbarriers, which count the bytes that other programs send here.

DEVICE void mbar_init(u32 bar, u32 arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(arrivals) : "memory");
}
DEVICE void mbar_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
DEVICE void mbar_expect(u32 bar, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
}
// Bounded by the clock's upper half: what never comes ends in a trap after 2 to 5 seconds, not in a hung GPU.
DEVICE void mbar_wait(u32 bar, u32 parity) {
  asm volatile(
      "{\n\t.reg .pred p;\n\t.reg .u32 start, now;\n\t"
      "mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n\t"
      "@p bra DONE;\n\t"
      "mov.u32 start, %%clock_hi;\n\t"
      "WAIT:\n\t"
      "mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n\t"
      "@p bra DONE;\n\t"
      "mov.u32 now, %%clock_hi;\n\t"
      "sub.u32 now, now, start;\n\t"
      "setp.lt.u32 p, now, 2;\n\t"
      "@p bra WAIT;\n\t"
      "trap;\n\t"
      "DONE:\n\t}" ::"r"(bar), "r"(parity) : "memory");
}

// To another program's shared memory.

DEVICE u32 mapa(u32 p, u32 rank) {
  u32 d;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(d) : "r"(p), "r"(rank));
  return d;
}
#define ST_ASYNC "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes"
DEVICE void st_async4(u32 p, u32 bar, float x, float y, float z, float w) {
  asm volatile(ST_ASYNC ".v4.b32 [%0], {%1,%2,%3,%4}, [%5];" ::"r"(p), "r"(as_u32(x)), "r"(as_u32(y)), "r"(as_u32(z)),
               "r"(as_u32(w)), "r"(bar) : "memory");
}
DEVICE void st_async2(u32 p, u32 bar, float x, float y) {
  asm volatile(ST_ASYNC ".v2.b32 [%0], {%1,%2}, [%3];" ::"r"(p), "r"(as_u32(x)), "r"(as_u32(y)), "r"(bar) : "memory");
}
DEVICE void st_async1(u32 p, u32 bar, u32 x) {
  asm volatile(ST_ASYNC ".b32 [%0], %1, [%2];" ::"r"(p), "r"(x), "r"(bar) : "memory");
}
