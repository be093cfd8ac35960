// A ledger's word about a piece holds for the place where the plan of then had it. When another
// plan has it elsewhere, be it in a file that stood before, the bytes there must tell.
#include "storage/ledger.h"
#include "tests/storage/compact_rig.h"

namespace shardswarm::test {
namespace {

class CompactTrustTest : public TwoLayersTest {
 protected:
  static Selection part(std::uint32_t rank, std::uint32_t count) {
    return {.tensors = {"model.layers.0.w"}, .slices = {{"model.layers.0.w", rank, count}}};
  }
  // A fetch that ends before everything came: what was put stays.
  void interrupt(const Selection& selection, const PieceSet& some) const {
    Rig rig;
    auto store = must(open(rig, target_, selection));
    rig.put_missing(*store, some & store->wanted(), files_);
    must(rig.finish(*store));
  }
};

// A piece that lay whole in the slice's file is cut by what stays, and was never in the file of cut
// pieces.
TEST_F(CompactTrustTest, APieceThatADropCutsIsNotTakenFromTheFileOfCutPieces) {
  fetch(target_, part(0, 2));   // rows 0-4005: no piece is cut
  fetch(target_, part(9, 18));  // to 4450: one is, in the second block
  drop(target_, part(1, 3));    // from 2670: now the first piece is
  expect_holds(target_, replayed({{false, part(0, 2)}, {false, part(9, 18)}, {true, part(1, 3)}}));
}

// It was there, and its room was given back when it came whole.
TEST_F(CompactTrustTest, APieceThatWasFreedThereIsNotTakenFromThereAgain) {
  fetch(target_, part(0, 3));
  fetch(target_, part(0, 2));
  drop(target_, part(1, 3));
  expect_holds(target_, replayed({{false, part(0, 3)}, {false, part(0, 2)}, {true, part(1, 3)}}));
}

// Two interrupted fetches, then the first again: its file comes back from the superseded ones, with
// the identity that it had, but the piece was recorded in another file.
TEST_F(CompactTrustTest, APieceOfAnotherInterruptedFetchIsNotTakenFromTheFileOfTheFirst) {
  const Selection all{.tensors = {"model.layers.0.*"}};
  const Selection one{.tensors = {"model.layers.0.w"}};
  const PieceSet none(manifest_->piece_count());
  interrupt(all, none);
  PieceSet of_one = must(resolved(one)).pieces;
  of_one.erase(piece_of_tensor("a.safetensors", "model.layers.0.w"));  // stays incomplete
  interrupt(one, of_one);
  interrupt(all, none);
  fetch(target_, all);
  expect_holds(target_, replayed({{false, all}}));
}

// The plan is durable before anything else: killed right there the next run must not trust it.
TEST_F(CompactTrustTest, APlanThatWasJustSavedIsNoRecordOfWherePiecesLie) {
  fetch(target_, part(0, 3));
  {
    Rig rig;
    (void)must(open(rig, target_, part(0, 2)));
  }
  fetch(target_, part(0, 2));
  expect_holds(target_, replayed({{false, part(0, 2)}}));
}

// A crash between saving a new plan and anything else: made by hand, from the plan that the next
// run would save and the files of before.
TEST_F(CompactTrustTest, ACrashRightAfterThePlanWasSavedLosesNothing) {
  fetch(target_, part(0, 3));
  const auto meta = target_ / ".shardswarm";
  std::filesystem::copy(target_, dir_ / "copy", std::filesystem::copy_options::recursive);
  {
    Rig rig;
    auto store = must(open(rig, target_, part(1, 6), {}, true));
  }
  const Bytes plan = read_file(meta / "holding");
  std::filesystem::remove_all(target_);
  std::filesystem::rename(dir_ / "copy", target_);
  // As the program leaves it: first the moved pieces are lost in the ledger, then the plan.
  const auto before = must(load_holding(meta, *manifest_));
  write_file(meta / "holding", plan);
  const auto after = must(load_holding(meta, *manifest_));
  EXPECT_NE(before, after);
  {
    LedgerContent content;
    auto ledger =
        must(Ledger::open(meta / "ledger", manifest_->piece_count(), after.next_number, content));
    std::vector<PieceIndex> all;
    content.recorded.for_each([&](PieceIndex piece) { all.push_back(piece); });
    must(ledger.append_lost(all));
  }
  drop(target_, part(1, 6));
  expect_holds(target_, replayed({{false, part(0, 3)}, {true, part(1, 6)}}));
}

}  // namespace
}  // namespace shardswarm::test
