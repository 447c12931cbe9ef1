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

// Counts the bytes that a Writer would write.
class Sizer {
 public:
  void operator()(const std::uint32_t &) { size_ += 4; }
  void operator()(const std::uint64_t &) { size_ += 8; }
  void operator()(std::string_view text) { size_ += 4 + round_up_to(text.size(), 4); }
  void bytes(std::span<const std::uint8_t> content) { size_ += content.size(); }
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
    put(text.data(), text.size());
    zeros(round_up_to(text.size(), 4) - text.size());
  }
  void bytes(std::span<const std::uint8_t> content) { put(content.data(), content.size()); }
  void zeros(std::size_t count) {
    std::memset(to_, 0, count);
    to_ += count;
  }
  std::uint8_t *position() const { return to_; }

 private:
  void put(const void *from, std::size_t size) {
    if (size) std::memcpy(to_, from, size);
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
