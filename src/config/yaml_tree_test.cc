#include "config/yaml_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace verdict {
namespace {

std::string ErrorOf(std::string_view text) {
  const auto root = ParseYaml(text, "f");
  return root.ok() ? "" : root.status().message();
}

TEST(ParseYaml, BuildsATreeWithPlaces) {
  const auto root = ParseYaml("a: 1\nb:\n  c: ['x', y]\n  d:\n", "f");
  ASSERT_TRUE(root.ok()) << root.status().message();
  ASSERT_NE(root->Find("b.c"), nullptr);
  const YamlNode& list = *root->Find("b.c");
  EXPECT_EQ(list.kind, YamlNode::Kind::kList);
  EXPECT_EQ(list.mark.line, 3);
  EXPECT_EQ(list.mark.column, 6);
  ASSERT_EQ(list.items.size(), 2u);
  EXPECT_TRUE(list.items[0].quoted);
  EXPECT_EQ(list.items[1].text, "y");
  EXPECT_FALSE(list.items[1].quoted);
  EXPECT_EQ(root->Find("b.d")->kind, YamlNode::Kind::kNull);
  EXPECT_EQ(root->keys[1].mark.line, 2);
  EXPECT_EQ(root->Find("b.x"), nullptr);
  EXPECT_EQ(root->Find("a.x"), nullptr);
}

TEST(ParseYaml, TakesAnEmptyFile) {
  for (const char* text : {"", "\n", "# nothing\n", "---\n", "---\n...\n", "\xef\xbb\xbf# BOM\n"}) {
    const auto root = ParseYaml(text, "f");
    ASSERT_TRUE(root.ok()) << root.status().message();
    EXPECT_EQ(root->kind, YamlNode::Kind::kNull);
  }
}

TEST(ParseYaml, RefusesWithThePlace) {
  struct Case {
    std::string_view text;
    const char* error;
  };
  for (const Case& c : {
           Case{"a: 1\na: 2\n", "f:2:1: key 'a': stands twice, first on line 1; keep one"},
           Case{"t:\n  b: 1\n  \"b\": 2\n", "f:3:3: key 't.b': stands twice"},
           Case{"l: [{b: 1, b: 2}]\n", "key 'l.b': stands twice"},
           Case{"a: &x 1\n", "an anchor (&name)"},
           Case{"a: &x 1\nb: *x\n", "an anchor (&name)"},
           Case{"a: {<<: *x}\n", "f:1:9: "},
           Case{"a: !!int 1\n", "f:1:4: a tag (!name)"},
           Case{"a: !x {b: 1}\n", "a tag (!name)"},
           Case{"a:\n\tb: 1\n", "f:2:1: a tab as indentation; use spaces"},
           Case{"a: 1\n---\nb: 1\n", "f:2:1: a second document begins here; keep one"},
           Case{"{a: 1} x", "a second document"},
           Case{"[a]: 1\n", "f:1:1: a key must be plain text"},
           Case{"{a: 1}: 1\n", "a key must be plain text"},
           Case{"~: 1\n", "a key must be plain text"},
           Case{"a: 1\nb: \xff\n", "f:2:1: this line is not UTF-8"},
           Case{std::string_view("a: \0", 4), "f:1:4: a control character"},
           Case{"a: \x1b[2J\n", "f:1:4: a control character"},
           Case{"a: b: c\n", "f:1:5: cannot read this as YAML: illegal map value"},
           Case{"a: [1\n", "cannot read this as YAML"},
           Case{"a: 'x\n", "f:3:1: the end of the document within a quote; is one not closed?"},
           Case{"a: \"x\nb: 1\n", "is one not closed?"},
           Case{"a: '", "is one not closed?"},
           Case{"a: {b\n", "cannot read this as YAML"},
           Case{"%YAML 9.1\n---\na: 1\n", "cannot read this as YAML"},
       }) {
    EXPECT_THAT(ErrorOf(c.text), testing::HasSubstr(c.error)) << c.text;
  }
}

TEST(ParseYaml, BoundsDepthAndSize) {
  for (const int depth : {17, 600, 100'000}) {
    EXPECT_THAT(ErrorOf("a: " + std::string(depth, '[')), testing::HasSubstr("f:1:")) << depth;
  }
  EXPECT_EQ(ErrorOf("a: " + std::string(15, '[') + std::string(15, ']')), "");
  EXPECT_THAT(ErrorOf("a: " + std::string(16, '[') + std::string(16, ']')),
              testing::HasSubstr("f:1:19: nested more than 16 deep"));
  std::string maps;
  for (int i = 0; i < 1000; ++i) maps += std::string(i, ' ') + "a:\n";
  EXPECT_THAT(ErrorOf(maps), testing::HasSubstr("nested more than 16 deep"));
  EXPECT_EQ(ErrorOf("#" + std::string(kMaxYamlBytes - 1, 'x')), "");
  EXPECT_THAT(ErrorOf("#" + std::string(kMaxYamlBytes, 'x')), testing::HasSubstr("1048577 bytes"));
}

TEST(ParseYaml, BoundsTheNumberOfKeys) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "k" + std::to_string(i) + ": 1\n";
  EXPECT_EQ(ErrorOf(text), "f:4097:1: too many keys in one place");
}

}  // namespace
}  // namespace verdict
