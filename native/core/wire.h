// How messages and events turn into bytes and back: little-endian numbers, strings with a length, padding. A structure of the
// protocol lists its fields once, in `fields(visitor)`; Sizer, Writer and Reader are the visitors. Reader never reads beyond
// what it was given and remembers that something was missing, so a decoder needs one check at its end.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace gcr {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers of the protocol are stored as they are");

constexpr std::uint64_t round_up_to(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }

// Copies without a call: what is copied is short, and the C library's code may be out of the processor's caches.
inline void copy_inline(std::uint8_t *to, const void *from, std::size_t size) {
  const auto *bytes = static_cast<const std::uint8_t *>(from);
  // Two pieces that cover it, which may lie over each other.
  const auto twice = [&](auto piece) {
    std::memcpy(to, bytes, sizeof(piece));
    std::memcpy(to + size - sizeof(piece), bytes + size - sizeof(piece), sizeof(piece));
  };
  using Piece = std::uint64_t[2];
  if (size >= sizeof(Piece)) {
    for (std::size_t at = 0; at + sizeof(Piece) <= size; at += sizeof(Piece)) {
      std::memcpy(to + at, bytes + at, sizeof(Piece));
      asm volatile("" : : : "memory");  // the compiler would make a call of the loop
    }
    std::memcpy(to + size - sizeof(Piece), bytes + size - sizeof(Piece), sizeof(Piece));
  } else if (size >= 8) {
    twice(std::uint64_t{});
  } else if (size >= 4) {
    twice(std::uint32_t{});
  } else if (size) {
    to[0] = bytes[0];
    to[size / 2] = bytes[size / 2];
    to[size - 1] = bytes[size - 1];
  }
}

// Counts the bytes that a Writer would write.
class Sizer {
 public:
  void operator()(const std::uint32_t &) { size_ += 4; }
  void operator()(const std::uint64_t &) { size_ += 8; }
  void operator()(std::string_view text) { size_ += 4 + round_up_to(text.size(), 4); }
  void bytes(const auto &content) { size_ += content.size(); }
  void zeros(std::size_t count) { size_ += count; }
  std::size_t size() const { return size_; }

 private:
  std::size_t size_ = 0;
};

// Writes to a place that a Sizer has found large enough.
class Writer {
 public:
  explicit Writer(std::uint8_t *to) : to_(to) {}

  void operator()(const std::uint32_t &value) { put(&value, 4); }
  void operator()(const std::uint64_t &value) { put(&value, 8); }
  void operator()(std::string_view text) {
    const auto length = static_cast<std::uint32_t>(text.size());
    put(&length, 4);
    copy_inline(to_, text.data(), text.size());
    to_ += text.size();
    for (std::size_t i = text.size(); i % 4; ++i) *to_++ = 0;
  }
  // Contents that are there, or that put themselves into their place.
  void bytes(std::span<const std::uint8_t> content) {
    copy_inline(to_, content.data(), content.size());
    to_ += content.size();
  }
  void bytes(const auto &content) {
    content.copy_to(to_);
    to_ += content.size();
  }
  void zeros(std::size_t count) {
    std::memset(to_, 0, count);
    to_ += count;
  }
  std::uint8_t *position() const { return to_; }

 private:
  void put(const void *from, std::size_t size) {
    std::memcpy(to_, from, size);
    to_ += size;
  }
  std::uint8_t *to_;
};

// Reads; views of strings and contents point into the bytes read.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> from) : from_(from) {}

  void operator()(std::uint32_t &value) { take(&value, 4); }
  void operator()(std::uint64_t &value) { take(&value, 8); }
  void operator()(std::string_view &text) {
    std::uint32_t length = 0;
    take(&length, 4);
    const auto content = take_view(length);
    text = {reinterpret_cast<const char *>(content.data()), content.size()};
    zeros(round_up_to(length, 4) - length);
  }
  std::span<const std::uint8_t> take_view(std::size_t size) {
    if (size > from_.size()) {
      good_ = false;
      from_ = {};
      return {};
    }
    const auto view = from_.first(size);
    from_ = from_.subspan(size);
    return view;
  }
  void zeros(std::size_t count) { take_view(count); }
  bool good() const { return good_; }
  std::size_t left() const { return from_.size(); }

 private:
  void take(void *to, std::size_t size) {
    const auto view = take_view(size);
    if (view.size() == size) std::memcpy(to, view.data(), size);
    else std::memset(to, 0, size);
  }
  std::span<const std::uint8_t> from_;
  bool good_ = true;
};

}  // namespace gcr
