# SPDX-License-Identifier: GPL-2.0-or-later
"""With a live kernel: who comes first, first sync both ways, protocols, versions,
several volumes, authentication, what does not fit."""
import pytest
from blockdrbd import Workspace
from together import MIB, Together, our_writes


@pytest.fixture(scope='module')
def rig():
    with Workspace('drbd-live-kernel-') as folder:
        with Together(folder.path, volumes=2) as pair:
            yield pair


# -- meeting ------------------------------------------------------------------------


@pytest.mark.parametrize('first', ['ours', 'kernel'])
def test_either_side_first(rig, first):
    rig.fresh(connect=False, start=False)
    if first == 'ours':
        rig.ours.start()
        rig.ours.wait_connection('WFConnection')
        rig.kernel.connect()
    else:
        rig.kernel.connect()
        rig.kernel.wait_connection('WFConnection', 'Unconnected')
        rig.ours.start()
    rig.connected()
    assert rig.ours.state()[2:] == ('Inconsistent', 'Inconsistent')
    assert rig.kernel.status()['ds'] == 'Inconsistent/Inconsistent'


def test_first_sync_from_ours(rig):
    rig.fresh(connect=False)
    rig.ours.primary(force=True)
    our_writes(rig.ours, 3)
    rig.kernel.connect()
    rig.settle_equal()


def test_first_sync_from_the_kernel(rig):
    rig.fresh(connect=False)
    status, output = rig.kernel.primary(force=True)
    assert status == 0, output
    rig.kernel.some_of_everything(5)
    rig.kernel.connect()
    rig.settle_equal()


# -- writing --------------------------------------------------------------------------


@pytest.mark.parametrize('protocol', ['A', 'B', 'C'])
def test_writes_both_ways(rig, protocol):
    rig.ready(protocol=protocol)
    our_writes(rig.ours, 11)
    rig.settle_equal()
    rig.swap_roles()
    rig.kernel.some_of_everything(23)
    rig.settle_equal()
    rig.swap_roles()
    our_writes(rig.ours, 12)
    rig.settle_equal()
    assert rig.ours.peer()['times-lost'] == 0


@pytest.mark.parametrize('version', [86, 90, 95, 100, 101])
def test_versions(rig, version):
    """Everything that a version can; no discards by the kernel below 95, they crash it."""
    rig.ready(protocol_version_max=version)
    assert rig.ours.peer()['protocol-version'] == version
    our_writes(rig.ours, version)
    rig.settle_equal()
    rig.swap_roles()
    rig.kernel.some_of_everything(version, discards=version >= 95)
    rig.settle_equal()
    rig.link.cut()
    rig.kernel.wait_connection('WFConnection', 'Unconnected', 'StandAlone')
    rig.ours.wait_lost()
    rig.kernel.many(7 * MIB, MIB, version + 1)
    rig.link.heal()
    rig.settle_equal()


def test_features_off(rig):
    rig.ready(features=0)
    our_writes(rig.ours, 7)
    rig.settle_equal()
    rig.swap_roles()
    rig.kernel.some_of_everything(8)
    rig.settle_equal()


def test_several_volumes(rig):
    rig.ready(volumes=2)
    for volume in range(2):
        our_writes(rig.ours, 30 + volume, volume)
    rig.settle_equal()
    rig.swap_roles()
    for volume in range(2):
        rig.kernel.some_of_everything(40 + volume, volume=volume)
    rig.settle_equal()


def test_integrity_algorithm(rig):
    rig.ready(data_integrity_alg='sha1')
    our_writes(rig.ours, 50)
    rig.settle_equal()
    rig.swap_roles()
    rig.kernel.some_of_everything(51, discards=False)
    rig.settle_equal()
    assert rig.ours.peer()['times-lost'] == 0


# -- authentication --------------------------------------------------------------------


def authenticated(rig, ours, kernel):
    rig.fresh(connect=False, start=False)
    if ours:
        rig.ours.objects = ({'qom-type': 'secret', 'id': 's0', 'data': ours},)
        rig.ours.options.update({'secret': 's0', 'cram-hmac-alg': 'sha1'})
    rig.ours.start()
    rig.kernel.connect('--cram-hmac-alg=sha1 --shared-secret="%s"' % kernel if kernel else '')


def test_same_secret(rig):
    authenticated(rig, 'our common secret', 'our common secret')
    rig.connected()


def test_other_secret(rig):
    """Who finds it first ends the connection, and the other may see no more than that."""
    authenticated(rig, 'my secret', 'your secret')
    rig.ours.wait(lambda: rig.ours.status()['connection'] == 'StandAlone' or rig.kernel.status()['cs'] == 'StandAlone',
                  'one of them refuses the other', 60)
    if rig.ours.status()['connection'] == 'StandAlone':
        assert 'secret' in rig.ours.reason() or 'uthentic' in rig.ours.reason()
        rig.kernel.wait_connection('StandAlone', 'WFConnection')
    else:
        rig.ours.wait_connection('WFConnection')
    assert rig.kernel.status()['ds'] == 'Inconsistent/DUnknown'


@pytest.mark.parametrize('who', ['ours', 'kernel'])
def test_authentication_on_one_side(rig, who):
    authenticated(rig, 'x' if who == 'ours' else None, 'x' if who == 'kernel' else None)
    if who == 'ours':
        rig.ours.wait_connection('StandAlone')
    else:
        rig.kernel.wait_connection('StandAlone')


# -- what does not fit -------------------------------------------------------------------

MISMATCHES = {
    'protocol': ({'protocol': 'C'}, '--protocol=A'),
    'after-sb-0pri': ({'after_sb_0pri': 'discard-zero-changes'}, '--after-sb-0pri=disconnect'),
    'data-integrity-alg': ({'data_integrity_alg': 'sha1'}, '--data-integrity-alg=md5'),
}


@pytest.mark.parametrize('option', MISMATCHES)
def test_mismatch(rig, option):
    """At least one side refuses for good (which one varies with the kernel, too)."""
    ours, kernel = MISMATCHES[option]
    rig.fresh(kernel_net=kernel, **ours)

    def refused():
        return (rig.ours.status()['connection'] == 'StandAlone'
                or rig.kernel.status()['cs'] == 'StandAlone')
    rig.ours.wait(refused, 'one side refuses', 60)
    if rig.ours.status()['connection'] == 'StandAlone':
        assert option.split('-')[0] in rig.ours.reason()
    assert rig.ours.is_running()
