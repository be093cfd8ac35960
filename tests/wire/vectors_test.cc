// spec/vectors: this implementation makes exactly these bytes, and understands them.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/support/project.h"
#include "tests/wire/pair.h"
#include "wire/session.h"

namespace shardswarm {
namespace {

using test::digest_of;
using test::End;
using test::run_of;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Bytes = std::vector<std::byte>;

std::filesystem::path spec() { return test::project_root() / "spec"; }

Bytes from_hex(std::istream& lines) {
  Bytes bytes;
  for (std::string line; std::getline(lines, line) && line != "```";) {
    if (line.starts_with('#')) continue;
    std::istringstream words(line);
    for (std::string word; words >> word;) bytes.push_back(std::byte(std::stoi(word, nullptr, 16)));
  }
  return bytes;
}

Bytes vector(const std::string& name) {
  std::ifstream file(spec() / "vectors" / (name + ".hex"));
  EXPECT_TRUE(file.is_open()) << name;
  return from_hex(file);
}

// The node of the vectors.
Hello node() {
  return {.node_id = digest_of(0),
          .agent = "shardswarm/0.1",
          .listen_port = 7777,
          .advertised = {"192.0.2.1:7777"}};
}

const ModelId kModel = digest_of(32);

std::vector<PieceRun> every_second() {
  std::vector<PieceRun> runs;
  for (std::uint32_t piece = 300; piece <= 330; piece += 2) runs.push_back(run_of(piece, 1));
  return runs;
}

// What the session of `end` has to say now.
Bytes said(End& end) {
  Bytes out;
  while (std::holds_alternative<OutputBytes>(end.session.next_output())) {
    end.take_output(out, SIZE_MAX);
  }
  return out;
}

TEST(Vectors, AreMadeExactly) {
  End end(node());
  EXPECT_EQ(said(end), vector("hello"));
  Hello labelled = node();
  labelled.site = "fra/rack1";
  End placed(labelled);
  EXPECT_EQ(said(placed), vector("hello-site"));
  Bytes hello(kPreambleBytes.begin(), kPreambleBytes.end());
  message::append_hello(hello, test::hello_of(99), {});
  end.give_all(hello);
  const Channel channel = end.session.open(kModel);
  EXPECT_EQ(said(end), vector("open"));
  end.session.have(channel, std::vector{run_of(0, 4), run_of(10, 1)});
  EXPECT_EQ(said(end), vector("have"));
  end.session.have(channel, every_second());
  EXPECT_EQ(said(end), vector("have-bitmap"));
  end.session.request(channel, std::vector{run_of(2, 2)}, 1'048'576, true);
  EXPECT_EQ(said(end), vector("request"));
  end.session.send_piece(channel, PieceIndex(2), 5);
  Bytes data = said(end);
  EXPECT_EQ(std::get<OutputExtent>(end.session.next_output()).length, 5U);
  for (const char c : {'p', 'i', 'e', 'c', 'e'}) data.push_back(static_cast<std::byte>(c));
  EXPECT_EQ(data, vector("data"));
  end.session.sent(5);
  end.session.close(CloseReason::kDone, "bye");
  EXPECT_EQ(said(end), vector("close"));
}

TEST(Vectors, TheAnswerInPlaintextIsThisAlert) {  // WIRE-1a
  EXPECT_EQ(Bytes(kTlsAlertBytes.begin(), kTlsAlertBytes.end()), vector("tls-alert"));
}

TEST(Vectors, AreUnderstood) {
  End end(test::hello_of(99));
  test::Acceptor acceptor(end, 5);
  end.give_all(vector("hello"));
  ASSERT_EQ(end.all<event::Ready>().size(), 1U);
  const Hello hello = end.all<event::Ready>()[0].hello;
  EXPECT_EQ(hello.node_id, node().node_id);
  EXPECT_EQ(hello.listen_port, 7777);
  EXPECT_THAT(hello.advertised, ElementsAre("192.0.2.1:7777"));
  EXPECT_EQ(hello.agent, "shardswarm/0.1");
  end.session.open(kModel);
  for (const char* name : {"open", "have", "have-bitmap", "request", "data", "close"}) {
    const Bytes bytes = vector(name);
    EXPECT_EQ(end.give_all(bytes), bytes.size()) << name;
  }
  EXPECT_THAT(end.all<event::Failed>(), IsEmpty());
  EXPECT_EQ(end.all<event::Opened>().at(0).model, kModel);
  EXPECT_THAT(end.all<event::Have>().at(0).pieces, ElementsAre(run_of(0, 4), run_of(10, 1)));
  EXPECT_EQ(end.all<event::Have>().at(1).pieces, every_second());
  EXPECT_THAT(end.all<event::Request>().at(0).pieces, ElementsAre(run_of(2, 2)));
  EXPECT_EQ(end.all<event::Request>().at(0).credit_bytes, 1'048'576U);
  EXPECT_TRUE(end.all<event::Request>().at(0).any);
  EXPECT_EQ(end.all<event::PieceEnd>().at(0).piece, PieceIndex(2));
  const Bytes& piece = acceptor.buffers[PieceIndex(2)];
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(piece.data()), piece.size()), "piece");
  EXPECT_EQ(end.all<event::Closed>().at(0).reason, CloseReason::kDone);
  EXPECT_EQ(end.all<event::Closed>().at(0).text, "bye");
}

TEST(Vectors, TheSpecificationsExamplesAreTheVectors) {
  std::ifstream file(spec() / "protocol.md");
  ASSERT_TRUE(file.is_open());
  int examples = 0;
  for (std::string line; std::getline(file, line);) {
    const std::string mark = "```hex ";
    if (!line.starts_with(mark)) continue;
    EXPECT_EQ(from_hex(file), vector(line.substr(mark.size())));
    ++examples;
  }
  EXPECT_EQ(examples, 2);
}

}  // namespace
}  // namespace shardswarm
