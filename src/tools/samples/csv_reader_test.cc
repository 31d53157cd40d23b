#include "tools/samples/csv_reader.h"

#include <gmock/gmock.h>

#include "tools/samples/sample_text_test.h"

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using Record = std::vector<std::string>;

std::vector<Record> Records(const std::string& text) {
  CsvReader reader(TextOf(text, "f.csv"));
  std::vector<Record> records;
  Record fields;
  while (true) {
    const auto more = reader.Next(&fields);
    EXPECT_TRUE(more.ok()) << more.status().ToString();
    if (!more.ok() || !*more) return records;
    records.push_back(fields);
  }
}

std::string Error(const std::string& text) {
  CsvReader reader(TextOf(text, "f.csv"));
  Record fields;
  while (true) {
    const auto more = reader.Next(&fields);
    if (!more.ok()) return more.status().message();
    if (!*more) return "none";
  }
}

TEST(CsvReader, SplitsRecordsAtCommasAndLineEnds) {
  EXPECT_THAT(Records("a,b\r\n1,\n,2"),
              ElementsAre(Record{"a", "b"}, Record{"1", ""}, Record{"", "2"}));
  EXPECT_THAT(Records("a,"), ElementsAre(Record{"a", ""}));
  EXPECT_THAT(Records(""), ElementsAre());
}

TEST(CsvReader, ReadsQuotedFields) {
  EXPECT_THAT(Records("\"a,b\",\"say \"\"no\"\"\"\r\n\"two\nlines\",\"\"\n"),
              ElementsAre(Record{"a,b", "say \"no\""}, Record{"two\nlines", ""}));
  EXPECT_THAT(Records("\"a\""), ElementsAre(Record{"a"}));
  EXPECT_THAT(Records("5\" disk,b"), ElementsAre(Record{"5\" disk", "b"}));
}

TEST(CsvReader, PassesOverEmptyLinesButNotEmptyQuotes) {
  EXPECT_THAT(Records("a\n\n\r\n\"\"\nb\n\n"), ElementsAre(Record{"a"}, Record{""}, Record{"b"}));
}

TEST(CsvReader, CountsTheLinesOfAQuotedField) {
  CsvReader reader(TextOf("\"a\nb\"\n\nc\n", "f.csv"));
  Record fields;
  ASSERT_TRUE(reader.Next(&fields).value());
  EXPECT_EQ(reader.line(), 1);
  ASSERT_TRUE(reader.Next(&fields).value());
  EXPECT_EQ(reader.line(), 4);
}

TEST(CsvReader, SaysWhichQuoteIsWrong) {
  EXPECT_THAT(Error("a\n\"b"), HasSubstr("f.csv, line 2: a quote that is opened is not closed"));
  EXPECT_THAT(Error("a\n\"b\" c\n"), HasSubstr("f.csv, line 2: text after a closing quote"));
}

TEST(CsvReader, BoundsARecord) {
  EXPECT_THAT(Error("\"" + std::string(kMaxRecordBytes + 1, 'a')),
              HasSubstr("is a quote left open?"));
  EXPECT_THAT(Error(std::string(70'000, ',')), HasSubstr("over 65536 fields"));
}

}  // namespace
}  // namespace verdict
