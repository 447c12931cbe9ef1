// See json.h. Recursive descent with a depth limit; positions in messages are byte offsets.
#include "json.h"

#include <limits>

namespace gcr {

namespace {
constexpr int max_depth = 32;
}

class JsonParser {
 public:
  explicit JsonParser(std::string_view text) : text_(text) {}

  Json whole() {
    Json value = parse_value(0);
    skip_space();
    if (at_ != text_.size()) fail("text after the value");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string &what) const {
    throw JsonError(what + " at byte " + std::to_string(at_));
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r' || text_[at_] == '\n')) ++at_;
  }

  char peek() {
    skip_space();
    if (at_ == text_.size()) fail("unexpected end");
    return text_[at_];
  }

  void take(char wanted) {
    if (peek() != wanted) fail(std::string("expected '") + wanted + "'");
    ++at_;
  }

  bool take_word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  Json parse_value(int depth) {
    if (depth > max_depth) fail("nested too deeply");
    Json value;
    switch (peek()) {
      case '{':
        parse_object(value, depth);
        break;
      case '[':
        parse_array(value, depth);
        break;
      case '"':
        value.kind_ = Json::Kind::string;
        value.string_ = parse_string();
        break;
      case 't':
      case 'f':
        value.kind_ = Json::Kind::boolean;
        value.number_ = text_[at_] == 't';
        if (!take_word(value.number_ ? "true" : "false")) fail("unknown word");
        break;
      case 'n':
        if (!take_word("null")) fail("unknown word");
        break;
      default:
        value.kind_ = Json::Kind::number;
        value.number_ = parse_number();
    }
    return value;
  }

  void parse_object(Json &value, int depth) {
    value.kind_ = Json::Kind::object;
    take('{');
    if (peek() == '}') {
      ++at_;
      return;
    }
    for (;;) {
      if (peek() != '"') fail("expected a name");
      std::string name = parse_string();
      take(':');
      if (value.find(name)) fail("name '" + name + "' twice");
      value.members_.emplace_back(std::move(name), parse_value(depth + 1));
      if (peek() == '}') break;
      take(',');
    }
    ++at_;
  }

  void parse_array(Json &value, int depth) {
    value.kind_ = Json::Kind::array;
    take('[');
    if (peek() == ']') {
      ++at_;
      return;
    }
    for (;;) {
      value.items_.push_back(parse_value(depth + 1));
      if (peek() == ']') break;
      take(',');
    }
    ++at_;
  }

  std::string parse_string() {
    std::string result;
    for (++at_;; ++at_) {
      if (at_ == text_.size()) fail("string without an end");
      char c = text_[at_];
      if (c == '"') break;
      if (static_cast<unsigned char>(c) < 0x20) fail("control character in a string");
      if (c == '\\') {
        ++at_;
        if (at_ == text_.size() || (text_[at_] != '"' && text_[at_] != '\\')) fail("escape that is not supported");
        c = text_[at_];
      }
      result.push_back(c);
    }
    ++at_;
    return result;
  }

  std::int64_t parse_number() {
    bool negative = text_[at_] == '-';
    if (negative) ++at_;
    std::size_t first = at_;
    std::uint64_t bits = 0;
    const std::uint64_t limit = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      std::uint64_t digit = static_cast<std::uint64_t>(text_[at_] - '0');
      if (bits > (limit - digit) / 10) fail("number too large");
      bits = bits * 10 + digit;
    }
    if (at_ == first) fail("expected a value");
    if (at_ < text_.size() && (text_[at_] == '.' || text_[at_] == 'e' || text_[at_] == 'E')) fail("number is not whole");
    return negative ? -static_cast<std::int64_t>(bits) : static_cast<std::int64_t>(bits);
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

Json Json::parse(std::string_view text) { return JsonParser(text).whole(); }

void Json::expect(Kind kind, const char *what) const {
  if (kind_ != kind) throw JsonError(std::string("expected ") + what);
}

bool Json::boolean() const {
  expect(Kind::boolean, "true or false");
  return number_ != 0;
}

std::int64_t Json::number() const {
  expect(Kind::number, "a number");
  return number_;
}

const std::string &Json::string() const {
  expect(Kind::string, "a string");
  return string_;
}

const std::vector<Json> &Json::items() const {
  expect(Kind::array, "an array");
  return items_;
}

const std::vector<std::pair<std::string, Json>> &Json::members() const {
  expect(Kind::object, "an object");
  return members_;
}

const Json *Json::find(std::string_view name) const {
  for (const auto &[key, value] : members_)
    if (key == name) return &value;
  return nullptr;
}

const Json &Json::at(std::string_view name) const {
  expect(Kind::object, "an object");
  if (const Json *value = find(name)) return *value;
  throw JsonError("no member '" + std::string(name) + "'");
}

const Json &Json::at(std::size_t index) const {
  expect(Kind::array, "an array");
  if (index >= items_.size()) throw JsonError("array too short");
  return items_[index];
}

std::string json_quote(std::string_view text) {
  std::string result = "\"";
  for (char c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
    if (c == '"' || c == '\\') result.push_back('\\');
    result.push_back(c);
  }
  return result + '"';
}

}  // namespace gcr
