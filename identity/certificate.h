// X.509 certificates of a cluster: the CA's own, and the leaves that it signs.
#pragma once

#include <string>

#include "base/error.h"
#include "identity/openssl.h"

namespace shardswarm {

Result<KeyPtr> make_key();  // elliptic curve P-256
// A certificate of `subject` for `key`, signed by `issuer_key`. With no `issuer` it is a CA's,
// signed by itself.
Result<CertificatePtr> make_certificate(const std::string& subject, EVP_PKEY* key, X509* issuer,
                                        EVP_PKEY* issuer_key);

}  // namespace shardswarm
