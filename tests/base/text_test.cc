#include "base/text.h"

#include <gtest/gtest.h>

namespace shardswarm {
namespace {

TEST(Printable, LeavesPlainTextAndOtherScriptsAlone) {
  EXPECT_EQ(printable(""), "");
  EXPECT_EQ(printable("model.layers.7.q_proj.weight"), "model.layers.7.q_proj.weight");
  EXPECT_EQ(printable("ünïcödé 模型 😀 \\n"), "ünïcödé 模型 😀 \\n");
}

TEST(Printable, ControlCharactersDoNotReachTheTerminal) {
  EXPECT_EQ(printable("a\nb\tc\rd"), "a\\nb\\tc\\rd");
  EXPECT_EQ(printable("\x1b]52;c;cm0gLXJm\x07"), "\\x1b]52;c;cm0gLXJm\\x07");
  EXPECT_EQ(printable(std::string_view("\0\x7f", 2)), "\\x00\\x7f");
  EXPECT_EQ(printable("\xc2\x9b[2J"), "\\u{9b}[2J");  // C1's CSI, as UTF-8
}

TEST(Printable, CharactersThatTurnTextAroundAreNamed) {
  EXPECT_EQ(printable("a\u202egnp.exe"), "a\\u{202e}gnp.exe");
  EXPECT_EQ(printable("\u2066\u200f\u2028\ufeff"), "\\u{2066}\\u{200f}\\u{2028}\\u{feff}");
}

TEST(Printable, BytesThatAreNotUtf8AreNamedOneByOne) {
  EXPECT_EQ(printable("latin\xe9.txt"), "latin\\xe9.txt");
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");                    // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
  EXPECT_EQ(printable("\xe6\xa8"), "\\xe6\\xa8");                    // cut off
}

TEST(PrintableAscii, NamesWhatIsNotAscii) {
  EXPECT_EQ(printable_ascii("模 é"), "\\u{6a21} \\u{e9}");
  EXPECT_EQ(printable_ascii("plain\n"), "plain\\n");
}

TEST(CountText, OneIsNoPlural) {
  EXPECT_EQ(count_text(0, "file"), "0 files");
  EXPECT_EQ(count_text(1, "file"), "1 file");
  EXPECT_EQ(count_text(2, "other file"), "2 other files");
}

}  // namespace
}  // namespace shardswarm
