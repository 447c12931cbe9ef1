// Memory at a multiple of 4,096 bytes, which direct I/O needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace gcr {

constexpr size_t kBlockBytes = 4096;

constexpr uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }
inline bool is_aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % kBlockBytes == 0; }

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t size)
      : bytes_(static_cast<uint8_t*>(::operator new(size, std::align_val_t{kBlockBytes}))), size_(size) {}

  uint8_t* data() { return bytes_.get(); }
  const uint8_t* data() const { return bytes_.get(); }
  size_t size() const { return size_; }

 private:
  struct Release {
    void operator()(uint8_t* bytes) const { ::operator delete(bytes, std::align_val_t{kBlockBytes}); }
  };
  std::unique_ptr<uint8_t, Release> bytes_;
  size_t size_ = 0;
};

}  // namespace gcr
