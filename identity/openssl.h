// Owners for OpenSSL's objects, and its errors as text.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <array>
#include <memory>
#include <string>

namespace shardswarm {

template <auto Free>
struct OpenSslFree {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};

using BioPtr = std::unique_ptr<BIO, OpenSslFree<&::BIO_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpenSslFree<&::EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, OpenSslFree<&::X509_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpenSslFree<&::X509_EXTENSION_free>>;
using SslPtr = std::unique_ptr<SSL, OpenSslFree<&::SSL_free>>;

// The first error of this thread's queue, which is then empty.
inline std::string openssl_error() {
  std::array<char, 256> text{};
  ::ERR_error_string_n(::ERR_get_error(), text.data(), text.size());
  ::ERR_clear_error();
  return text.data();
}

}  // namespace shardswarm
