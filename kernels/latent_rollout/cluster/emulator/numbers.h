// Operands of 16 bits to and from float, rounding to nearest even.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace emu {
inline uint32_t bits_of(float v) {
  uint32_t u;
  std::memcpy(&u, &v, 4);
  return u;
}
inline float float_of(uint32_t u) {
  float v;
  std::memcpy(&v, &u, 4);
  return v;
}

#if HALF
inline float wide(uint32_t h) {
  const uint32_t exponent = h >> 10 & 31, mantissa = h & 1023;
  const float magnitude = exponent == 31  ? (mantissa ? NAN : INFINITY)
                          : exponent == 0 ? std::ldexp((float)mantissa, -24)
                                          : std::ldexp((float)(mantissa | 1024), (int)exponent - 25);
  return h >> 15 & 1 ? -magnitude : magnitude;
}
inline uint32_t narrow(float v) {
  const uint32_t sign = bits_of(v) >> 16 & 0x8000;
  const float magnitude = std::fabs(v);
  if (std::isnan(v)) return 0x7fff;
  if (magnitude >= 65520.0f) return sign | 0x7c00;  // half way from the largest number to the next
  const int exponent = magnitude < 0x1p-14f ? -14 : std::ilogb(magnitude);
  const uint32_t steps = (uint32_t)std::nearbyint(std::ldexp(magnitude, 10 - exponent));  // 1024 for the exponent's 1
  return sign | (((uint32_t)(exponent + 14) << 10) + steps);
}
#else
inline float wide(uint32_t b) { return float_of(b << 16); }
inline uint32_t narrow(float v) {
  const uint32_t u = bits_of(v);
  return std::isnan(v) ? 0x7fff : (u + 0x7fff + (u >> 16 & 1)) >> 16;
}
#endif
inline float low(uint32_t pair) { return wide(pair & 0xffff); }
inline float high(uint32_t pair) { return wide(pair >> 16); }
}  // namespace emu
