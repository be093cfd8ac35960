#include "cli/parse.h"

#include <gtest/gtest.h>

#include "cli/context.h"

namespace shardswarm::cli {
namespace {

class ParseTest : public ::testing::Test {
 protected:
  ParseTest() {
    CommandSpec fetch{
        .name = "fetch",
        .summary = "Fetch a checkpoint",
        .positionals = {
            {.name = "TICKET", .text = "The ticket", .set = into(ticket_)},
            {.name = "DIR", .text = "where to", .required = false, .set = into(directory_)}}};
    fetch.options = {{.names = "--layers",
                      .value = "A-B",
                      .text = "Layers",
                      .group = "G",
                      .set = into(layers_),
                      .repeatable = true,
                      .list = true},
                     {.names = "--tensors",
                      .value = "GLOB",
                      .text = "Tensors",
                      .group = "G",
                      .set = into(tensors_),
                      .repeatable = true},
                     {.names = "--io",
                      .value = "ENGINE",
                      .text = "Engine",
                      .group = "G",
                      .set = into(io_),
                      .rare = true,
                      .choices = {"uring", "posix"}},
                     {.names = "--json",
                      .text = "JSON",
                      .group = "G",
                      .set = into(json_),
                      .conflicts = {"--io"}}};
    line_.groups = {{"All",
                     {fetch,
                      {.name = "key new", .summary = "Make a key"},
                      {.name = "key export", .summary = "Show a key"}}}};
    line_.globals = {{.names = "-v,--verbose",
                      .text = "Say more",
                      .group = "Every command",
                      .set = count(verbose_)}};
  }

  // The name of the command, or "error: " and the message.
  std::string parsed(const std::vector<std::string>& arguments) {
    const auto result = parse(arguments, line_, "version 1");
    if (!result) {
      EXPECT_EQ(result.error().code, Errc::kUsage);
      return "error: " + result.error().message;
    }
    if (const auto* shown = std::get_if<Shown>(&*result)) return "shown: " + shown->text;
    return std::get<const CommandSpec*>(*result)->name;
  }

  std::string ticket_;
  std::string directory_;
  std::vector<std::string> layers_;
  std::vector<std::string> tensors_;
  std::string io_;
  bool json_ = false;
  int verbose_ = 0;
  CommandLine line_;
};

TEST_F(ParseTest, SetsWhatTheArgumentsSay) {
  EXPECT_EQ(parsed({"-v", "fetch", "T", "./d", "--layers", "0-3,8-11", "--layers=20", "-v",
                    "--tensors", "a.[x,y]*", "--io", "posix"}),
            "fetch");
  EXPECT_EQ(ticket_, "T");
  EXPECT_EQ(directory_, "./d");
  EXPECT_EQ(layers_, (std::vector<std::string>{"0-3", "8-11", "20"}));
  EXPECT_EQ(tensors_, (std::vector<std::string>{"a.[x,y]*"}));  // globs hold commas
  EXPECT_EQ(io_, "posix");
  EXPECT_EQ(verbose_, 2);
  EXPECT_FALSE(json_);
}

TEST_F(ParseTest, ValuesMayBeEmptyAndLookLikeOptions) {
  EXPECT_EQ(parsed({"fetch", "--tensors", "", "T", "--tensors=", "--tensors=-x", "--tensors",
                    "--help", "d"}),
            "fetch");
  EXPECT_EQ(tensors_, (std::vector<std::string>{"", "", "-x", "--help"}));
  EXPECT_EQ(ticket_, "T");
  EXPECT_EQ(directory_, "d");
}

TEST_F(ParseTest, BehindTwoDashesNothingIsAnOption) {
  EXPECT_EQ(parsed({"fetch", "--json", "--", "--help", "-d"}), "fetch");
  EXPECT_EQ(ticket_, "--help");
  EXPECT_EQ(directory_, "-d");
}

TEST_F(ParseTest, CommandsOfTwoWords) {
  EXPECT_EQ(parsed({"key", "new"}), "key new");
  EXPECT_EQ(parsed({"key", "-v", "export"}), "key export");
  EXPECT_NE(parsed({"key"}).find("key new, key export"), std::string::npos);
}

TEST_F(ParseTest, SaysWhatWasMeant) {
  EXPECT_NE(parsed({"fecth"}).find("no command 'fecth': did you mean 'fetch'?"), std::string::npos);
  EXPECT_NE(parsed({"fetch", "T", "--layer", "1"}).find("did you mean '--layers'?"),
            std::string::npos);
  EXPECT_NE(parsed({"fetch", "T", "--io", "urin"}).find("did you mean 'uring'?"),
            std::string::npos);
  EXPECT_NE(parsed({"fetch"}).find("needs TICKET: the ticket"), std::string::npos);
  EXPECT_NE(parsed({"fetch", "T", "d", "more"}).find("'more'"), std::string::npos);
  EXPECT_NE(parsed({}).find("name a command"), std::string::npos);
}

TEST_F(ParseTest, SaysWhatIsWrongWithAnOption) {
  const auto says = [this](const std::vector<std::string>& arguments, std::string_view what) {
    const std::string text = parsed(arguments);
    EXPECT_TRUE(text.starts_with("error: ")) << text;
    EXPECT_NE(text.find(what), std::string::npos) << text;
  };
  says({"fetch", "T", "--io", "posix", "--json"}, "--json and --io do not go together");
  says({"fetch", "T", "--io", "posix", "--io", "uring"}, "--io: is given twice");
  says({"fetch", "T", "--io"}, "--io needs a value: ENGINE");
  says({"fetch", "T", "--json=maybe"}, "--json takes no value");
  says({"fetch", "T", "--verbose=9000000000000000"}, "--verbose takes no value");
  says({"--versoin"}, "did you mean '--version'?");
  says({"--io", "posix", "fetch"}, "options stand behind the command");
  says({"fetch", "T", "d", std::string(500, 'x')}, "x...'");
}

TEST_F(ParseTest, HelpAndVersion) {
  EXPECT_EQ(parsed({"--version"}), "shown: version 1\n");
  EXPECT_NE(parsed({"--help"}).find("Fetch a checkpoint"), std::string::npos);
  EXPECT_EQ(parsed({"fetch", "--help"}).find("--io"), std::string::npos);  // rare
  EXPECT_NE(parsed({"fetch", "--help-all"}).find("--io ENGINE"), std::string::npos);
  EXPECT_EQ(parsed({"help", "fetch"}), parsed({"fetch", "-h"}));
  EXPECT_NE(parsed({"--tables"}).find(R"("name":"key export")"), std::string::npos);
}

TEST_F(ParseTest, HelpIsAtMostEightyColumnsWide) {
  const std::string text = command_text(line_, *line_.find("fetch"), true) + overview_text(line_);
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t end = std::min(text.find('\n', from), text.size());
    EXPECT_LE(end - from, 80U) << text.substr(from, end - from);
    from = end + 1;
  }
}

// Whoever forgets "key import" before the key must not find it in a log.
TEST_F(ParseTest, AKeyAmongTheWordsIsNotShown) {
  for (const std::string key : {"shardswarm-key:U0VDUkVU", "-----BEGIN PRIVATE KEY-----U0VDUkVU",
                                "MII U0VDUkVU -----END PRIVATE KEY-----"}) {
    for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
             {key}, {"key", key}, {"fetch", "T", "d", key}, {"fetch", "T", "--io", key}}) {
      const std::string said = parsed(arguments);
      EXPECT_TRUE(said.starts_with("error: ")) << said;
      EXPECT_EQ(said.find("U0VDUkVU"), std::string::npos) << said;
    }
  }
}

}  // namespace
}  // namespace shardswarm::cli
