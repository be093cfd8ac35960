// A map and a set as sorted arrays: of what is looked up and gone through far more often than it
// changes, such as peers. Keys that grow are put in at the end at once; else putting in and taking
// out move what lies behind. Either makes iterators invalid; entries of a map stay where they are.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

namespace shardswarm {

template <class Key, class Value>
class FlatMap {
 public:
  using Entry = std::pair<const Key, Value>;

  template <class Base, class Of>
  class Iterator {
   public:
    using value_type = Entry;
    using reference = Of&;
    using pointer = Of*;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::bidirectional_iterator_tag;

    Iterator() = default;
    explicit Iterator(Base at) : at_(at) {}
    Of& operator*() const { return **at_; }
    Of* operator->() const { return at_->get(); }
    Iterator& operator++() { return ++at_, *this; }
    Iterator operator++(int) { return Iterator(at_++); }
    Iterator& operator--() { return --at_, *this; }
    Iterator operator--(int) { return Iterator(at_--); }
    bool operator==(const Iterator&) const = default;

   private:
    friend FlatMap;
    Base at_{};
  };
  using Entries = std::vector<std::unique_ptr<Entry>>;
  using iterator = Iterator<typename Entries::iterator, Entry>;
  using const_iterator = Iterator<typename Entries::const_iterator, const Entry>;

  iterator begin() { return iterator(entries_.begin()); }
  iterator end() { return iterator(entries_.end()); }
  const_iterator begin() const { return const_iterator(entries_.begin()); }
  const_iterator end() const { return const_iterator(entries_.end()); }
  std::size_t size() const { return keys_.size(); }
  bool empty() const { return keys_.empty(); }

  iterator find(const Key& key) { return iterator(entries_.begin() + found(key)); }
  const_iterator find(const Key& key) const {
    return const_iterator(entries_.begin() + found(key));
  }
  bool contains(const Key& key) const { return found(key) < std::ssize(keys_); }
  iterator upper_bound(const Key& key) {
    return iterator(entries_.begin() +
                    (std::upper_bound(keys_.begin(), keys_.end(), key) - keys_.begin()));
  }
  Value& at(const Key& key) { return entry_at(key).second; }
  const Value& at(const Key& key) const { return entry_at(key).second; }

  // As std::map's: whether it was put in, not if the key was there.
  template <class... Arguments>
  std::pair<iterator, bool> try_emplace(const Key& key, Arguments&&... arguments) {
    const auto place = lower(key);
    const auto entry = entries_.begin() + place;
    if (entry != entries_.end() && (*entry)->first == key) return {iterator(entry), false};
    keys_.insert(keys_.begin() + place, key);
    return {iterator(entries_.insert(
                entry, std::make_unique<Entry>(
                           std::piecewise_construct, std::forward_as_tuple(key),
                           std::forward_as_tuple(std::forward<Arguments>(arguments)...)))),
            true};
  }
  void erase(iterator entry) { (void)extract(entry); }
  std::unique_ptr<Entry> extract(iterator entry) {
    std::unique_ptr<Entry> taken = std::move(*entry.at_);
    keys_.erase(keys_.begin() + (entry.at_ - entries_.begin()));
    entries_.erase(entry.at_);
    return taken;
  }

 private:
  std::ptrdiff_t lower(const Key& key) const {
    return std::lower_bound(keys_.begin(), keys_.end(), key) - keys_.begin();
  }
  std::ptrdiff_t found(const Key& key) const {
    const std::ptrdiff_t place = lower(key);
    const bool here = place < std::ssize(keys_) && keys_[static_cast<std::size_t>(place)] == key;
    return here ? place : std::ssize(keys_);
  }
  Entry& entry_at(const Key& key) const {
    const std::ptrdiff_t place = found(key);
    if (place == std::ssize(keys_)) throw std::out_of_range("no such key");
    return *entries_[static_cast<std::size_t>(place)];
  }

  std::vector<Key> keys_;  // beside the entries: what is looked up lies close together
  Entries entries_;
};

template <class Key>
class FlatSet {
 public:
  using const_iterator = typename std::vector<Key>::const_iterator;

  const_iterator begin() const { return keys_.begin(); }
  const_iterator end() const { return keys_.end(); }
  bool empty() const { return keys_.empty(); }
  bool contains(const Key& key) const { return std::ranges::binary_search(keys_, key); }

  void insert(const Key& key) {
    const auto it = std::ranges::lower_bound(keys_, key);
    if (it == keys_.end() || *it != key) keys_.insert(it, key);
  }
  template <class Iterator>
  void insert(Iterator first, Iterator last) {
    for (; first != last; ++first) insert(*first);
  }
  void erase(const Key& key) {
    const auto it = std::ranges::lower_bound(keys_, key);
    if (it != keys_.end() && *it == key) keys_.erase(it);
  }
  template <class Predicate>
  void erase_if(Predicate&& predicate) {
    std::erase_if(keys_, std::forward<Predicate>(predicate));
  }

 private:
  std::vector<Key> keys_;
};

}  // namespace shardswarm
