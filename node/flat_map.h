// A map and a set as sorted arrays: what is looked up and gone through far more often than it
// changes, such as a node's connections. Keys that grow are put in at the end at once; else putting
// in and taking out move what lies behind, and make iterators and references to entries (not what
// they point to) invalid.
#pragma once

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <utility>
#include <vector>

namespace shardswarm {

template <class Key, class Value>
class FlatMap {
 public:
  using Entry = std::pair<Key, Value>;
  using iterator = typename std::vector<Entry>::iterator;
  using const_iterator = typename std::vector<Entry>::const_iterator;

  iterator begin() { return entries_.begin(); }
  iterator end() { return entries_.end(); }
  const_iterator begin() const { return entries_.begin(); }
  const_iterator end() const { return entries_.end(); }
  std::size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }

  iterator find(const Key& key) {
    const auto it = lower_bound(key);
    return it != end() && it->first == key ? it : end();
  }
  const_iterator find(const Key& key) const { return const_cast<FlatMap&>(*this).find(key); }
  iterator lower_bound(const Key& key) {
    return std::ranges::lower_bound(entries_, key, {}, &Entry::first);
  }
  iterator upper_bound(const Key& key) {
    return std::ranges::upper_bound(entries_, key, {}, &Entry::first);
  }
  bool contains(const Key& key) const { return find(key) != end(); }
  Value& at(const Key& key) {
    const auto it = find(key);
    if (it == end()) throw std::out_of_range("no such key");
    return it->second;
  }
  const Value& at(const Key& key) const { return const_cast<FlatMap&>(*this).at(key); }

  // Whether it was put in: not if the key was there.
  template <class... Arguments>
  std::pair<iterator, bool> try_emplace(const Key& key, Arguments&&... arguments) {
    const auto it = lower_bound(key);
    if (it != end() && it->first == key) return {it, false};
    return {entries_.emplace(it, std::piecewise_construct, std::forward_as_tuple(key),
                             std::forward_as_tuple(std::forward<Arguments>(arguments)...)),
            true};
  }
  void erase(iterator entry) { entries_.erase(entry); }
  void erase(const Key& key) {
    if (const auto it = find(key); it != end()) entries_.erase(it);
  }

 private:
  std::vector<Entry> entries_;
};

template <class Key>
class FlatSet {
 public:
  using const_iterator = typename std::vector<Key>::const_iterator;

  const_iterator begin() const { return keys_.begin(); }
  const_iterator end() const { return keys_.end(); }
  std::size_t size() const { return keys_.size(); }
  bool empty() const { return keys_.empty(); }
  bool contains(const Key& key) const { return std::ranges::binary_search(keys_, key); }

  bool insert(const Key& key) {  // whether it was not there
    const auto it = std::ranges::lower_bound(keys_, key);
    if (it != keys_.end() && *it == key) return false;
    keys_.insert(it, key);
    return true;
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
