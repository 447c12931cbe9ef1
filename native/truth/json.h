// A strict reader for the JSON of launch plans: objects, arrays, strings without escapes but \" and \\, whole numbers of
// 64 bits, true, false and null. Whatever else stands in a plan is a mistake of its author and is refused with its place.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gcr {

struct JsonError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Json {
 public:
  enum class Kind { null, boolean, number, string, array, object };

  // Parses one whole text. Throws JsonError.
  static Json parse(std::string_view text);

  Kind kind() const { return kind_; }
  bool boolean() const;
  std::int64_t number() const;
  const std::string &string() const;
  const std::vector<Json> &items() const;
  const std::vector<std::pair<std::string, Json>> &members() const;

  // The member of that name; null when there is none.
  const Json *find(std::string_view name) const;
  // The member of that name. Throws JsonError when there is none.
  const Json &at(std::string_view name) const;
  const Json &at(std::size_t index) const;

 private:
  friend class JsonParser;
  void expect(Kind kind, const char *what) const;

  Kind kind_ = Kind::null;
  std::int64_t number_ = 0;
  std::string string_;
  std::vector<Json> items_;
  std::vector<std::pair<std::string, Json>> members_;
};

// A JSON string with quotes; control characters become spaces.
std::string json_quote(std::string_view text);

}  // namespace gcr
