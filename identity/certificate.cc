#include "identity/certificate.h"

#include <openssl/ec.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

namespace shardswarm {
namespace {

// Clocks differ, and a cluster's key has no natural end: from 2020 to 2120, in UTC.
constexpr const char* kNotBefore = "20200101000000Z";
constexpr const char* kNotAfter = "21200101000000Z";

std::unexpected<Error> failed(const char* what) {
  return fail(Errc::kInternal, std::string("cannot ") + what + ": " + openssl_error());
}

bool add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  ::X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(::X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  return extension && ::X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool set_serial(X509* certificate) {
  std::array<unsigned char, 16> bytes{};
  if (::RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) return false;
  bytes[0] &= 0x7f;  // positive
  const std::unique_ptr<BIGNUM, OpenSslFree<&::BN_free>> number(
      ::BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
  return number &&
         ::BN_to_ASN1_INTEGER(number.get(), ::X509_get_serialNumber(certificate)) != nullptr;
}

}  // namespace

Result<KeyPtr> make_key() {
  KeyPtr key(::EVP_EC_gen("P-256"));
  if (!key) return failed("make a key");
  return key;
}

Result<CertificatePtr> make_certificate(const std::string& subject, EVP_PKEY* key, X509* issuer,
                                        EVP_PKEY* issuer_key) {
  CertificatePtr certificate(::X509_new());
  if (!certificate) return failed("make a certificate");
  X509* const x509 = certificate.get();
  const bool ca = issuer == nullptr;
  X509_NAME* name = ::X509_get_subject_name(x509);
  bool ok = ::X509_set_version(x509, X509_VERSION_3) == 1 && set_serial(x509) &&
            ::ASN1_TIME_set_string_X509(::X509_getm_notBefore(x509), kNotBefore) == 1 &&
            ::ASN1_TIME_set_string_X509(::X509_getm_notAfter(x509), kNotAfter) == 1 &&
            ::X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                         reinterpret_cast<const unsigned char*>(subject.c_str()),
                                         -1, -1, 0) == 1 &&
            ::X509_set_issuer_name(x509, ca ? name : ::X509_get_subject_name(issuer)) == 1 &&
            ::X509_set_pubkey(x509, key) == 1;
  X509* const signer = ca ? x509 : issuer;
  ok = ok &&
       add_extension(x509, signer, NID_basic_constraints,
                     ca ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") &&
       add_extension(x509, signer, NID_key_usage,
                     ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature") &&
       (ca || add_extension(x509, signer, NID_ext_key_usage, "serverAuth,clientAuth"));
  if (!ok || ::X509_sign(x509, issuer_key, ::EVP_sha256()) == 0) {
    return failed("make a certificate");
  }
  return certificate;
}

}  // namespace shardswarm
