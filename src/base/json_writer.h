#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace verdict {

/// Appends `text` as a JSON string: quoted, control characters escaped, bytes that are not UTF-8
/// replaced by U+FFFD.
void AppendJsonString(std::string_view text, std::string& json);

/// Writes JSON from the outside in; commas come by themselves. The caller keeps Begin and End in
/// pairs and gives every member of an object a key.
class JsonWriter {
 public:
  JsonWriter& BeginObject() { return Open('{'); }
  JsonWriter& EndObject() { return Close('}'); }
  JsonWriter& BeginArray() { return Open('['); }
  JsonWriter& EndArray() { return Close(']'); }
  JsonWriter& Key(std::string_view key);
  JsonWriter& String(std::string_view value);
  JsonWriter& Int(int64_t value) { return Raw(std::to_string(value)); }
  JsonWriter& UInt(uint64_t value) { return Raw(std::to_string(value)); }
  /// The shortest text that reads back as the same number; null if it is not finite.
  JsonWriter& Number(double value);

  const std::string& text() const { return text_; }

 private:
  void Separate();
  JsonWriter& Open(char bracket);
  JsonWriter& Close(char bracket);
  JsonWriter& Raw(std::string_view text);

  std::string text_;
  bool first_ = true;  // nothing has been written at this level, or a key was just written
};

}  // namespace verdict
