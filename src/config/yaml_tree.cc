#include "config/yaml_tree.h"

#include <simdjson.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>
#include <utility>

namespace verdict {
namespace {

YamlMark FromLibrary(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

Status Refuse(const std::string& name, YamlMark mark, const std::string& what) {
  return InvalidArgument(name + ":" + std::to_string(mark.line) + ":" +
                         std::to_string(mark.column) + ": " + what);
}

/// What can be said of the bytes before they are taken for YAML. It also keeps yaml-cpp from taking
/// them for UTF-16 or UTF-32.
Status CheckText(std::string_view text, const std::string& name) {
  if (text.size() > kMaxYamlBytes) {
    return InvalidArgument(name + ":1:1: the file has " + std::to_string(text.size()) +
                           " bytes; a configuration may have " + std::to_string(kMaxYamlBytes));
  }
  YamlMark mark{1, 1};
  bool indentation = true;
  for (size_t i = 0; i < text.size(); ++i, ++mark.column) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '\n') {
      ++mark.line;
      mark.column = 0;
      indentation = true;
      continue;
    }
    if (c == '\t' && indentation) return Refuse(name, mark, "a tab as indentation; use spaces");
    if ((c < 0x20 && c != '\t' && c != '\r') || c == 0x7f) {
      return Refuse(name, mark, "a control character; the file must be plain text");
    }
    if (c != ' ') indentation = false;
  }
  if (simdjson::validate_utf8(text.data(), text.size())) return OkStatus();
  mark = {1, 1};
  for (size_t begin = 0; begin < text.size(); ++mark.line) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (!simdjson::validate_utf8(text.data() + begin, end - begin)) break;
    begin = end + 1;
  }
  return Refuse(name, mark, "this line is not UTF-8; save the file as UTF-8");
}

/// What TreeBuilder throws through yaml-cpp; caught in ParseYaml.
struct Refusal {
  YamlMark mark;
  std::string what;
};

/// Builds the tree from yaml-cpp's events, which come before anchors are followed or keys merged.
class TreeBuilder : public YAML::EventHandler {
 public:
  YamlNode Take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (std::exchange(has_begun_, true)) {
      throw Refused(mark, "a second document begins here; keep one");
    }
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Add(Begin(YamlNode::Kind::kNull, mark, "", anchor));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    throw Refused(mark, "an alias (*name); write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node = Begin(YamlNode::Kind::kScalar, mark, tag, anchor);
    node.text = value;
    node.quoted = tag == "!";  // so the library marks what is not plain
    Add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    Open(Begin(YamlNode::Kind::kList, mark, tag, anchor), mark);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    Open(Begin(YamlNode::Kind::kMap, mark, tag, anchor), mark);
  }
  void OnMapEnd() override { Close(); }

 private:
  static Refusal Refused(const YAML::Mark& mark, std::string what) {
    return {FromLibrary(mark), std::move(what)};
  }

  static YamlNode Begin(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag,
                        YAML::anchor_t anchor) {
    if (anchor != 0) throw Refused(mark, "an anchor (&name); write the value out");
    if (!tag.empty() && tag != "?" && tag != "!") {
      throw Refused(mark, "a tag (!name); leave it out");
    }
    YamlNode node;
    node.kind = kind;
    node.mark = FromLibrary(mark);
    return node;
  }

  void Open(YamlNode node, const YAML::Mark& mark) {
    if (open_.size() >= static_cast<size_t>(kMaxYamlDepth)) {
      throw Refused(
          mark, "nested more than " + std::to_string(kMaxYamlDepth) + " deep; no key is that deep");
    }
    if (WantsKey()) throw Refused(mark, "a key must be plain text");
    open_.push_back(std::move(node));
  }

  void Close() {
    YamlNode node = std::move(open_.back());
    open_.pop_back();
    Add(std::move(node));
  }

  bool WantsKey() const {
    return !open_.empty() && open_.back().kind == YamlNode::Kind::kMap &&
           open_.back().keys.size() == open_.back().items.size();
  }

  void Add(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
    } else if (!WantsKey()) {
      // The library has what follows for the place of a value that is missing.
      const bool missing = node.kind == YamlNode::Kind::kNull && !open_.back().keys.empty();
      if (missing) node.mark = open_.back().keys.back().mark;
      open_.back().items.push_back(std::move(node));
    } else {
      AddKey(std::move(node));
    }
  }

  void AddKey(YamlNode node) {
    if (node.kind != YamlNode::Kind::kScalar) throw Refusal{node.mark, "a key must be plain text"};
    std::vector<YamlKey>& keys = open_.back().keys;
    if (keys.size() >= kMaxKeys) throw Refusal{node.mark, "too many keys in one place"};
    for (const YamlKey& key : keys) {
      if (key.text == node.text) {
        throw Refusal{node.mark, "key '" + Path() + node.text + "': stands twice, first on line " +
                                     std::to_string(key.mark.line) + "; keep one"};
      }
    }
    keys.push_back({std::move(node.text), node.mark});
  }

  /// Where the innermost open map is: "tls." or "".
  std::string Path() const {
    std::string path;
    for (size_t i = 0; i + 1 < open_.size(); ++i) {
      if (!open_[i].keys.empty()) path += open_[i].keys.back().text + ".";
    }
    return path;
  }

  static constexpr size_t kMaxKeys = 4096;  // looked through one by one for the second of a name
  bool has_begun_ = false;
  YamlNode root_;
  std::vector<YamlNode> open_;  // lists and maps that have not ended, outermost first
};

}  // namespace

const YamlNode* YamlNode::Find(std::string_view path) const {
  const YamlNode* node = this;
  while (!path.empty()) {
    const std::string_view name = path.substr(0, path.find('.'));
    path.remove_prefix(std::min(name.size() + 1, path.size()));
    const auto key = std::ranges::find(node->keys, name, &YamlKey::text);
    if (key == node->keys.end()) return nullptr;
    node = &node->items[static_cast<size_t>(key - node->keys.begin())];
  }
  return node;
}

Result<YamlNode> ParseYaml(std::string_view text, const std::string& name) {
  VERDICT_RETURN_IF_ERROR(CheckText(text, name));
  try {
    // The library takes a quote that is never closed for closed at the end of the file, unless the
    // end of the document stands there.
    std::istringstream stream{std::string(text) + "\n...\n"};
    YAML::Parser parser(stream);
    TreeBuilder builder;
    while (parser.HandleNextDocument(builder)) continue;
    return builder.Take();
  } catch (const Refusal& refusal) {
    return Refuse(name, refusal.mark, refusal.what);
  } catch (const YAML::Exception& error) {
    const YamlMark mark = error.mark.is_null() ? YamlMark{1, 1} : FromLibrary(error.mark);
    if (error.msg == YAML::ErrorMsg::DOC_IN_SCALAR) {
      return Refuse(name, mark, "the end of the document within a quote; is one not closed?");
    }
    return Refuse(name, mark, "cannot read this as YAML: " + error.msg);
  }
}

}  // namespace verdict
