/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Properties of drbd-resource that concern the peer.
 *
 * In: object-add and qom-set, main thread.  Out: the core's configuration of
 * the network, checked.  Names, ranges and units are those of drbd.conf; the
 * tables say them.  A change of a running resource is tried on the core, which
 * refuses what cannot change now, and is taken back then.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-qom.h"
#include "qapi/visitor.h"
#include "qemu/ctype.h"
#include "qemu/cutils.h"
#include "crypto/secret.h"
#include "qom/object_interfaces.h"
#include "drbd-int.h"

typedef struct DrbdNumber {
    const char *name;
    size_t offset;              /* of an unsigned in DrbdNetConfig */
    unsigned min, max, initial;
} DrbdNumber;

#define NUMBER(name, field, min, max, initial) \
    { name, offsetof(DrbdNetConfig, field), min, max, initial }

static const DrbdNumber drbd_numbers[] = {
    NUMBER("protocol-version-min", protocol_version_min, 86, 101, 86),
    NUMBER("protocol-version-max", protocol_version_max, 86, 101, 101),
    NUMBER("features", features, 0, 15, 15),
    NUMBER("timeout", timeout, 1, 600, 60),
    NUMBER("ping-timeout", ping_timeout, 1, 300, 5),
    NUMBER("socket-check-timeout", socket_check_timeout, 0, 300, 0),
    NUMBER("connect-int", connect_int, 1, 120, 10),
    NUMBER("ping-int", ping_int, 1, 120, 10),
    NUMBER("ko-count", ko_count, 0, 200, 7),
    NUMBER("drain-timeout", drain_timeout, 0, 36000, 0),
    NUMBER("max-epoch-size", max_epoch_size, 1, 20000, 2048),
    NUMBER("max-buffers", max_buffers, 32, 131072, 8192),
    NUMBER("resync-rate", resync_rate, 1, 8388608, 250),
    NUMBER("c-plan-ahead", c_plan_ahead, 0, 300, 20),
    NUMBER("c-delay-target", c_delay_target, 1, 100, 10),
    NUMBER("c-fill-target", c_fill_target, 0, 1048576, 100),
    NUMBER("c-max-rate", c_max_rate, 250, 4194304, 102400),
};

/* Policies, with the numbers that the wire has for them. */
typedef struct DrbdPolicy {
    const char *name, *type;
    size_t offset;              /* of an unsigned in DrbdNetConfig */
    const QEnumLookup *lookup;
    const uint8_t *numbers;     /* by QAPI value */
} DrbdPolicy;

static const uint8_t drbd_0pri[] = { 0, 1, 2, 3, 4, 5, 6 };
static const uint8_t drbd_1pri[] = { 0, 7, 8, 9, 10 };
static const uint8_t drbd_2pri[] = { 0, 9, 10 };
static const uint8_t drbd_rr[] = { 0, 1, 2 };

QEMU_BUILD_BUG_ON(sizeof(drbd_0pri) != DRBD_AFTER_SB0_PRI__MAX);
QEMU_BUILD_BUG_ON(sizeof(drbd_1pri) != DRBD_AFTER_SB1_PRI__MAX);
QEMU_BUILD_BUG_ON(sizeof(drbd_2pri) != DRBD_AFTER_SB2_PRI__MAX);
QEMU_BUILD_BUG_ON(sizeof(drbd_rr) != DRBD_RR_CONFLICT__MAX);

static const DrbdPolicy drbd_policies[] = {
    { "after-sb-0pri", "DrbdAfterSb0Pri",
      offsetof(DrbdNetConfig, after_sb_0pri), &DrbdAfterSb0Pri_lookup,
      drbd_0pri },
    { "after-sb-1pri", "DrbdAfterSb1Pri",
      offsetof(DrbdNetConfig, after_sb_1pri), &DrbdAfterSb1Pri_lookup,
      drbd_1pri },
    { "after-sb-2pri", "DrbdAfterSb2Pri",
      offsetof(DrbdNetConfig, after_sb_2pri), &DrbdAfterSb2Pri_lookup,
      drbd_2pri },
    { "rr-conflict", "DrbdRrConflict", offsetof(DrbdNetConfig, rr_conflict),
      &DrbdRrConflict_lookup, drbd_rr },
};

/* Names of algorithms. */
typedef struct DrbdName {
    const char *name;
    size_t offset;              /* of a char[DRBD_NAME_SIZE] */
} DrbdName;

static const DrbdName drbd_names[] = {
    { "data-integrity-alg", offsetof(DrbdNetConfig, data_integrity_alg) },
    { "verify-alg", offsetof(DrbdNetConfig, verify_alg) },
    { "csums-alg", offsetof(DrbdNetConfig, csums_alg) },
    { "cram-hmac-alg", offsetof(DrbdNetConfig, cram_hmac_alg) },
};

static DrbdNetOptions *drbd_options(Object *object)
{
    return &DRBD_RESOURCE(object)->net.options;
}

static void *drbd_field(DrbdNetOptions *options, size_t offset)
{
    return (char *)&options->config + offset;
}

/* ------------------------------------------------------- telling the core */

static bool drbd_find_secret(DrbdNetOptions *options, uint8_t **secret,
                             size_t *bytes, Error **errp)
{
    *secret = NULL;
    *bytes = 0;
    if (!options->config.cram_hmac_alg[0]) {
        return true;
    }
    if (!options->secret_id) {
        error_setg(errp, "Property 'cram-hmac-alg' needs property 'secret', "
                   "the id of a secret object");
        return false;
    }
    if (qcrypto_secret_lookup(options->secret_id, secret, bytes, errp) < 0) {
        return false;
    }
    if (!*bytes) {
        error_setg(errp, "Secret '%s' is empty: anybody knows it",
                   options->secret_id);
        return false;
    }
    return true;
}

bool drbd_net_configure(DrbdObject *obj, Error **errp)
{
    DrbdNet *net = &obj->net;
    DrbdNetConfig config = net->options.config;
    DrbdDigest integrity, hmac, unused;
    char error[DRBD_ERROR_SIZE];
    g_autofree uint8_t *secret = NULL;
    size_t secret_bytes;
    bool has_peer, ok;

    if (!drbd_addresses_given(obj, &has_peer, errp) ||
        !drbd_digest_find(config.data_integrity_alg, &integrity, errp) ||
        !drbd_digest_find(config.verify_alg, &unused, errp) ||
        !drbd_digest_find(config.csums_alg, &unused, errp) ||
        !drbd_hmac_find(config.cram_hmac_alg, &hmac, errp) ||
        !drbd_find_secret(&net->options, &secret, &secret_bytes, errp)) {
        return false;
    }
    if (!has_peer) {
        return true;
    }
    config.features_given = true;
    config.ko_count_given = true;
    config.integrity_digest_size = integrity.bytes;
    config.cram_digest_size = hmac.bytes;
    drbd_crypto_init(obj, &config.crypto);

    drbd_lock(obj);
    ok = drbd_on_net_config(obj->core, &config, error);
    if (ok) {
        net->integrity = integrity;
        net->hmac = hmac;
        net->configured = true;
        /* The old one is freed with the local variable. */
        uint8_t *old = net->secret;

        net->secret = g_steal_pointer(&secret);
        net->secret_bytes = secret_bytes;
        secret = old;
    }
    drbd_unlock(obj);
    if (!ok) {
        error_setg(errp, "%s", error);
        return false;
    }
    drbd_sockets_limit(obj, config.ko_count * config.timeout * 100);
    return true;
}

/* After a change by the user; @old comes back if it cannot be. */
static void drbd_net_changed(Object *object, const DrbdNetConfig *old,
                             Error **errp)
{
    DrbdObject *obj = DRBD_RESOURCE(object);

    if (obj->core && !drbd_net_configure(obj, errp)) {
        obj->net.options.config = *old;
    }
}

/* ------------------------------------------------------ numbers, policies */

static void drbd_get_number(Object *object, Visitor *v, const char *name,
                            void *opaque, Error **errp)
{
    const DrbdNumber *number = opaque;
    uint32_t value = *(unsigned *)drbd_field(drbd_options(object),
                                             number->offset);

    visit_type_uint32(v, name, &value, errp);
}

static void drbd_set_number(Object *object, Visitor *v, const char *name,
                            void *opaque, Error **errp)
{
    const DrbdNumber *number = opaque;
    DrbdNetConfig old = drbd_options(object)->config;
    uint32_t value;

    if (!visit_type_uint32(v, name, &value, errp)) {
        return;
    }
    if (value < number->min || value > number->max) {
        error_setg(errp, "Property '%s' must be %u to %u, not %" PRIu32, name,
                   number->min, number->max, value);
        return;
    }
    *(unsigned *)drbd_field(drbd_options(object), number->offset) = value;
    drbd_net_changed(object, &old, errp);
}

static void drbd_get_policy(Object *object, Visitor *v, const char *name,
                            void *opaque, Error **errp)
{
    const DrbdPolicy *policy = opaque;
    unsigned number = *(unsigned *)drbd_field(drbd_options(object),
                                              policy->offset);
    int value = 0;

    while (policy->numbers[value] != number) {
        value++;
    }
    visit_type_enum(v, name, &value, policy->lookup, errp);
}

static void drbd_set_policy(Object *object, Visitor *v, const char *name,
                            void *opaque, Error **errp)
{
    const DrbdPolicy *policy = opaque;
    DrbdNetConfig old = drbd_options(object)->config;
    int value;

    if (!visit_type_enum(v, name, &value, policy->lookup, errp)) {
        return;
    }
    *(unsigned *)drbd_field(drbd_options(object), policy->offset) =
        policy->numbers[value];
    drbd_net_changed(object, &old, errp);
}

static void drbd_get_name(Object *object, Visitor *v, const char *name,
                          void *opaque, Error **errp)
{
    const DrbdName *field = opaque;
    char *value = drbd_field(drbd_options(object), field->offset);

    visit_type_str(v, name, &value, errp);
}

static void drbd_set_name(Object *object, Visitor *v, const char *name,
                          void *opaque, Error **errp)
{
    const DrbdName *field = opaque;
    DrbdNetConfig old = drbd_options(object)->config;
    g_autofree char *value = NULL;

    if (!visit_type_str(v, name, &value, errp)) {
        return;
    }
    if (strlen(value) >= DRBD_NAME_SIZE) {
        error_setg(errp, "Property '%s' is longer than %d characters", name,
                   DRBD_NAME_SIZE - 1);
        return;
    }
    pstrcpy(drbd_field(drbd_options(object), field->offset), DRBD_NAME_SIZE,
            value);
    drbd_net_changed(object, &old, errp);
}

/* ----------------------------------------------------------------- others */

static char *drbd_get_protocol(Object *object, Error **errp)
{
    return g_strdup_printf("%c", 'A' - 1 +
                           (int)drbd_options(object)->config.protocol);
}

static void drbd_set_protocol(Object *object, const char *value, Error **errp)
{
    DrbdNetConfig old = drbd_options(object)->config;
    int letter = qemu_toupper(value[0]);

    if (letter < 'A' || letter > 'C' || value[1]) {
        error_setg(errp, "Property 'protocol' must be A, B or C, not '%s'",
                   value);
        return;
    }
    drbd_options(object)->config.protocol = letter - 'A' + 1;
    drbd_net_changed(object, &old, errp);
}

static char *drbd_get_secret(Object *object, Error **errp)
{
    return g_strdup(drbd_options(object)->secret_id ?: "");
}

static void drbd_set_secret(Object *object, const char *value, Error **errp)
{
    DrbdObject *obj = DRBD_RESOURCE(object);
    DrbdNetOptions *options = drbd_options(object);
    g_autofree char *old = NULL;
    g_autofree uint8_t *secret = NULL;
    size_t bytes;

    /* Before the object is complete it is looked for when all is given. */
    if (obj->core && value[0] &&
        qcrypto_secret_lookup(value, &secret, &bytes, errp) < 0) {
        return;
    }
    old = options->secret_id;
    options->secret_id = value[0] ? g_strdup(value) : NULL;
    if (obj->core && !drbd_net_configure(obj, errp)) {
        g_free(options->secret_id);
        options->secret_id = g_steal_pointer(&old);
    }
}

static bool drbd_get_always_asbp(Object *object, Error **errp)
{
    return drbd_options(object)->config.always_asbp;
}

static void drbd_set_always_asbp(Object *object, bool value, Error **errp)
{
    DrbdNetConfig old = drbd_options(object)->config;

    drbd_options(object)->config.always_asbp = value;
    drbd_net_changed(object, &old, errp);
}

static bool drbd_get_use_rle(Object *object, Error **errp)
{
    return !drbd_options(object)->config.no_use_rle;
}

static void drbd_set_use_rle(Object *object, bool value, Error **errp)
{
    DrbdNetConfig old = drbd_options(object)->config;

    drbd_options(object)->config.no_use_rle = !value;
    drbd_net_changed(object, &old, errp);
}

static bool drbd_get_connect(Object *object, Error **errp)
{
    return drbd_options(object)->connect;
}

static void drbd_set_connect(Object *object, bool value, Error **errp)
{
    drbd_options(object)->connect = value;
}

static void drbd_get_wfc_timeout(Object *object, Visitor *v, const char *name,
                                 void *opaque, Error **errp)
{
    visit_type_uint32(v, name, &drbd_options(object)->wfc_timeout, errp);
}

static void drbd_set_wfc_timeout(Object *object, Visitor *v, const char *name,
                                 void *opaque, Error **errp)
{
    visit_type_uint32(v, name, &drbd_options(object)->wfc_timeout, errp);
}

/* ------------------------------------------------------------ life, class */

void drbd_net_options_init(DrbdObject *obj)
{
    DrbdNetOptions *options = &obj->net.options;

    for (size_t i = 0; i < ARRAY_SIZE(drbd_numbers); i++) {
        *(unsigned *)drbd_field(options, drbd_numbers[i].offset) =
            drbd_numbers[i].initial;
    }
    options->config.protocol = DRBD_PROTOCOL_C;
    options->connect = true;
}

void drbd_net_options_destroy(DrbdObject *obj)
{
    g_free(obj->net.options.secret_id);
    g_free(obj->net.secret);
}

void drbd_net_class_init(ObjectClass *klass)
{
    for (size_t i = 0; i < ARRAY_SIZE(drbd_numbers); i++) {
        object_class_property_add(klass, drbd_numbers[i].name, "uint32",
                                  drbd_get_number, drbd_set_number, NULL,
                                  (void *)&drbd_numbers[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(drbd_policies); i++) {
        object_class_property_add(klass, drbd_policies[i].name,
                                  drbd_policies[i].type, drbd_get_policy,
                                  drbd_set_policy, NULL,
                                  (void *)&drbd_policies[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(drbd_names); i++) {
        object_class_property_add(klass, drbd_names[i].name, "str",
                                  drbd_get_name, drbd_set_name, NULL,
                                  (void *)&drbd_names[i]);
    }
    drbd_address_class_init(klass);
    object_class_property_add_str(klass, "protocol", drbd_get_protocol,
                                  drbd_set_protocol);
    object_class_property_add_str(klass, "secret", drbd_get_secret,
                                  drbd_set_secret);
    object_class_property_add_bool(klass, "always-asbp", drbd_get_always_asbp,
                                   drbd_set_always_asbp);
    object_class_property_add_bool(klass, "use-rle", drbd_get_use_rle,
                                   drbd_set_use_rle);
    object_class_property_add_bool(klass, "connect", drbd_get_connect,
                                   drbd_set_connect);
    object_class_property_add(klass, "wfc-timeout", "uint32",
                              drbd_get_wfc_timeout, drbd_set_wfc_timeout, NULL,
                              NULL);
}
