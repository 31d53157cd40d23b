#include "config/read_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/print_config.h"
#include "config/sample_config_test.h"

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> Read(std::string_view text, SampleConfig* sample) {
  const auto root = ParseYaml(text, "f");
  if (!root.ok()) return {root.status().message()};
  ConfigProblems problems("f");
  ReadConfig(*root, SampleKeys(sample), &problems);
  return problems.lines();
}

TEST(ReadConfig, SetsEveryKindOfKey) {
  SampleConfig sample;
  ASSERT_THAT(
      Read("flag: true\nport: 8080\nratio: 0.25\ntext: \"8080\"\ncolor: green\n"
           "names: [a, 'b, c']\nsizes: [4, 2]\nby_name: {CN=x: {count: 1}}\nsection: {count: 4}\n"
           "optional: {count: 5}\nlist: [{count: 6}, {count: 7}]\nby_number: {2: {count: "
           "8}}\n",
           &sample),
      ElementsAre());
  EXPECT_TRUE(sample.flag);
  EXPECT_EQ(sample.port, 8080);
  EXPECT_EQ(sample.ratio, 0.25);
  EXPECT_EQ(sample.text, "8080");
  EXPECT_EQ(sample.color, SampleConfig::Color::kGreen);
  EXPECT_THAT(sample.names, ElementsAre("a", "b, c"));
  EXPECT_THAT(sample.sizes, ElementsAre(4, 2));
  EXPECT_EQ(sample.by_name.at("CN=x").count, 1);
  EXPECT_EQ(sample.section.count, 4);
  ASSERT_TRUE(sample.optional.has_value());
  EXPECT_EQ(sample.optional->count, 5);
  ASSERT_EQ(sample.list.size(), 2u);
  EXPECT_EQ(sample.list[1].count, 7);
  EXPECT_EQ(sample.by_number.at(2).count, 8);
}

TEST(ReadConfig, LeavesWhatIsNotNamed) {
  SampleConfig sample;
  ASSERT_THAT(Read("section:\nby_name:\n", &sample), ElementsAre());
  EXPECT_EQ(sample.port, 80);
  EXPECT_EQ(sample.section.count, 3);
  EXPECT_FALSE(sample.optional.has_value());
}

TEST(ReadConfig, NamesFileLineColumnAndKey) {
  struct Case {
    const char* text;
    const char* error;
  };
  for (const Case& c : {
           Case{"prt: 1", "f:1:1: key 'prt': there is no such key (did you mean 'port'?); "},
           Case{"zzzzzz: 1", "f:1:1: key 'zzzzzz': there is no such key; correct it"},
           Case{"flag: true\nsection:\n  cuont: 1",
                "f:3:3: key 'section.cuont': there is no such key (did you mean 'count'?)"},
           Case{"old: 1", "f:1:1: key 'old': is gone; leave it out"},
           Case{"flag: yes", "f:1:7: key 'flag': 'yes' is no truth value; write true or false"},
           Case{"flag: \"true\"", "in quotes"},
           Case{"port: 65536", "'65536' is out of range; write one from 0 to 65535"},
           Case{"port: -1", "out of range"},
           Case{"port: 99999999999999999999", "out of range"},
           Case{"port: 0x10", "'0x10' is not a whole number"},
           Case{"port: 010", "'010' is not a whole number"},
           Case{"port: 1e3", "not a whole number"},
           Case{"port: 1_000", "not a whole number"},
           Case{"port: --1", "not a whole number"},
           Case{"port: \"80\"", "'80' is in quotes and thereby text; leave them out"},
           Case{"flag: true\nport:", "f:2:1: key 'port': has nothing; write one value: A port"},
           Case{"port: [1]", "has a list; write one value"},
           Case{"port: {a: 1}", "has a section; write one value"},
           Case{"ratio: 2", "'2' is out of range; write one from 0 to 1"},
           Case{"ratio: nan", "'nan' is not a number"},
           Case{"ratio: .5", "'.5' is not a number"},
           Case{"text: 80", "'80' is taken for a number or truth value; put it in quotes"},
           Case{"text: true", "put it in quotes"},
           Case{"text: \"a\\0b\"", "control characters"},
           Case{"color: gren", "did you mean 'green'?); write red, green"},
           Case{"names: a", "f:1:8: key 'names': has one value; write a list"},
           Case{"names: [a, [b]]", "f:1:12: key 'names[1]': has a list; write one value"},
           Case{"sizes: [1, 101]", "f:1:12: key 'sizes[1]': '101' is out of range"},
           Case{"sizes: ['1']", "key 'sizes[0]': is text"},
           Case{"by_name: {x: {count: 0}}", "f:1:22: key 'by_name.x.count': '0' is out of"},
           Case{"by_name: [x]", "key 'by_name': has a list"},
           Case{"by_name: {\"a\\u0001b\": {count: 1}}", "control characters"},
           Case{"section: 1", "f:1:10: key 'section': has one value; write a section"},
           Case{"optional: {}", "f:1:11: key 'optional.count': is missing; add it: How many"},
           Case{"list: [{count: 1}, {count: 0}]", "f:1:28: key 'list[1].count': '0' is out of"},
           Case{"list: [{}, {}, {}]", "key 'list': has 3 entries; write 0 to 2"},
           Case{"list: {count: 1}", "key 'list': has a section; write a list of sections"},
           Case{"by_number: {10: {count: 1}}", "f:1:13: key 'by_number.10': '10' is out of range"},
           Case{"by_number: {x: {count: 1}}", "key 'by_number.x': 'x' is not a whole number"},
           Case{"by_number: [1]", "key 'by_number': has a list"},
           Case{"[a]", "f:1:1: not a configuration"},
           Case{"word", "f:1:1: not a configuration"},
       }) {
    SampleConfig sample;
    EXPECT_THAT(Read(c.text, &sample), ElementsAre(HasSubstr(c.error))) << c.text;
  }
}

TEST(ReadConfig, ReportsEveryProblem) {
  SampleConfig sample;
  EXPECT_THAT(Read("port: x\nflag: 1\nsection: {count: 0}\n", &sample),
              ElementsAre(HasSubstr("f:1:7"), HasSubstr("f:2:7"), HasSubstr("f:3:18")));
}

TEST(ReadConfig, BoundsWhatItReports) {
  std::string text = "names: [";
  for (int i = 0; i < 500; ++i) text += "1,";
  SampleConfig sample;
  const auto lines = Read(text + "a]", &sample);
  ASSERT_EQ(lines.size(), 101u);
  EXPECT_EQ(lines.back(), "and 400 more");
}

TEST(ConfigProblems, SaysTheFirstAndHowManyMore) {
  ConfigProblems problems("f");
  EXPECT_TRUE(problems.ToStatus().ok());
  problems.Add({2, 3}, "a.b", "is bad");
  EXPECT_EQ(problems.ToStatus().message(), "f:2:3: key 'a.b': is bad");
  problems.Add("x");
  EXPECT_EQ(problems.ToStatus().message(), "f:2:3: key 'a.b': is bad (and 1 more problem)");
}

TEST(PrintConfig, IsReadBackToTheSame) {
  SampleConfig sample;
  sample.flag = true;
  sample.ratio = 1e-7;
  sample.text = "quo\"te\\ \xc3\xa4: #{}";
  sample.color = SampleConfig::Color::kGreen;
  sample.names = {"a", "b, c", "true", ""};
  sample.sizes = {4, 2};
  sample.by_name["CN=x, O=\"y\""].count = 4;
  sample.by_number[3].count = 6;
  sample.list = {{7}, {8}};
  sample.section.count = 9;
  sample.optional.emplace().count = 2;
  const std::string printed = PrintConfig(SampleKeys(&sample));
  SampleConfig again;
  EXPECT_THAT(Read(printed, &again), ElementsAre());
  EXPECT_EQ(again.text, sample.text);
  EXPECT_EQ(again.ratio, sample.ratio);
  EXPECT_EQ(again.names, sample.names);
  EXPECT_EQ(PrintConfig(SampleKeys(&again)), printed);
}

}  // namespace
}  // namespace verdict
