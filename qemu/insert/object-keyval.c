    } else if (g_str_has_prefix(str, "drbd-resource,") &&
               !g_str_has_suffix(str, ",help")) {
        /* Its addresses are structs, of which QemuOpts knows nothing. */
        QDict *args = keyval_parse(str, "qom-type", NULL, &error_fatal);

        v = qobject_input_visitor_new_keyval(QOBJECT(args));
        qobject_unref(args);
