/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Digests and authentication.
 *
 * In: names of algorithms as drbd.conf has them, payload, the resource's
 * secret.  Out: digests by QEMU's crypto library; crc32c, which that does not
 * have, by QEMU's own function, in the byte order of a little-endian kernel
 * digest.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/util.h"
#include "qemu/bswap.h"
#include "qemu/crc32c.h"
#include "crypto/hash.h"
#include "crypto/hmac.h"
#include "crypto/random.h"
#include "drbd-int.h"

/* Names that are not QEMU's. */
static const char *drbd_qemu_name(const char *name)
{
    return !strcmp(name, "rmd160") ? "ripemd160" : name;
}

static bool drbd_algorithm_find(const char *name, DrbdDigest *digest)
{
    int algorithm = qapi_enum_parse(&QCryptoHashAlgo_lookup,
                                    drbd_qemu_name(name), -1, NULL);

    if (algorithm < 0) {
        return false;
    }
    digest->kind = DRBD_DIGEST_CRYPTO;
    digest->algorithm = algorithm;
    digest->bytes = qcrypto_hash_digest_len(algorithm);
    return true;
}

bool drbd_digest_find(const char *name, DrbdDigest *digest, Error **errp)
{
    *digest = (DrbdDigest) { 0 };
    if (!name[0]) {
        return true;
    }
    if (!strcmp(name, "crc32c")) {
        digest->kind = DRBD_DIGEST_CRC32C;
        digest->bytes = sizeof(uint32_t);
        return true;
    }
    if (drbd_algorithm_find(name, digest) &&
        qcrypto_hash_supports(digest->algorithm)) {
        return true;
    }
    error_setg(errp, "Digest '%s' is not available in this program; use "
               "crc32c, sha1, sha256 or another that both nodes have", name);
    return false;
}

bool drbd_hmac_find(const char *name, DrbdDigest *digest, Error **errp)
{
    *digest = (DrbdDigest) { 0 };
    if (!name[0]) {
        return true;
    }
    if (drbd_algorithm_find(name, digest) &&
        qcrypto_hmac_supports(digest->algorithm)) {
        return true;
    }
    error_setg(errp, "Authentication by '%s' is not available in this program; "
               "use sha1, sha256 or another that both nodes have", name);
    return false;
}

bool drbd_digest_compute(const DrbdDigest *digest, const void *data,
                         size_t bytes, uint8_t result[DRBD_DIGEST_SIZE])
{
    size_t length = digest->bytes;

    switch (digest->kind) {
    case DRBD_DIGEST_CRC32C:
        stl_le_p(result, crc32c(UINT32_MAX, data, bytes));
        return true;
    case DRBD_DIGEST_CRYPTO:
        return qcrypto_hash_bytes(digest->algorithm, data, bytes, &result,
                                  &length, NULL) == 0;
    case DRBD_DIGEST_NONE:
        break;
    }
    return false;
}

/* Called by the core, a few times for a handshake, with the lock held. */
static bool drbd_hmac(void *opaque, const void *data, size_t length,
                      uint8_t digest[DRBD_DIGEST_SIZE])
{
    DrbdNet *net = opaque;
    size_t bytes = net->hmac.bytes;
    QCryptoHmac *hmac;
    bool ok;

    if (net->hmac.kind != DRBD_DIGEST_CRYPTO) {
        return false;
    }
    hmac = qcrypto_hmac_new(net->hmac.algorithm, net->secret,
                            net->secret_bytes, NULL);
    if (!hmac) {
        return false;
    }
    ok = qcrypto_hmac_bytes(hmac, data, length, &digest, &bytes, NULL) == 0;
    qcrypto_hmac_free(hmac);
    return ok;
}

static bool drbd_random(void *opaque, void *bytes, size_t length)
{
    return qcrypto_random_bytes(bytes, length, NULL) == 0;
}

void drbd_crypto_init(DrbdObject *obj, DrbdCrypto *crypto)
{
    crypto->opaque = &obj->net;
    crypto->hmac = drbd_hmac;
    crypto->random = drbd_random;
}
