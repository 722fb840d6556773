# SPDX-License-Identifier: GPL-2.0-or-later
"""One guest whose DRBD peers with a process on this host: see kernel-peer.sh."""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

from peer import KernelPeer, make_disk

TAP_HERE, TAP_THERE = '10.78.0.1', '10.78.0.2'
USER_HERE, USER_THERE = '10.0.2.2', '10.0.2.15'
PORT = 7788


def arguments():
    parser = argparse.ArgumentParser(prog='kernel-peer.sh', description=__doc__)
    parser.add_argument('peer', nargs='?', help='HOST:PORT where the peer process listens')
    parser.add_argument('--dir', default='/var/tmp/drbd-kernel-peer', type=os.path.abspath,
                        help='disks, sockets, logs (default %(default)s)')
    parser.add_argument('--net', choices=('user', 'tap'), default='user',
                        help='user: no privileges; tap: a tap device, %s here, %s there (root)'
                        % (TAP_HERE, TAP_THERE))
    parser.add_argument('--listen', type=int, default=17788,
                        help="user: host port that leads to the guest's port %d" % PORT)
    parser.add_argument('--tap', default='drbdtap0', help='tap: name of the device')
    parser.add_argument('--disk', action='append',
                        help='size of a disk (repeat for more volumes; default 64M)')
    parser.add_argument('--net-options', default='',
                        help='for drbdsetup connect, e.g. --net-options=--protocol=A')
    parser.add_argument('--disk-options', default='', help='for drbdsetup attach')
    parser.add_argument('--keep', action='store_true',
                        help='keep the disks and their metadata of the last run in --dir')
    parser.add_argument('--no-connect', action='store_true', help='attach only')
    parser.add_argument('--no-up', action='store_true', help='boot only')
    parser.add_argument('--pcap', help='record the traffic here')
    parser.add_argument('--stop', action='store_true', help='end the guest in --dir')
    chosen = parser.parse_args()
    if not chosen.stop and not chosen.peer:
        parser.error('HOST:PORT is missing')
    return chosen


def network(chosen, host):
    """Address in the guest, the peer's address as the guest sees it, back end, way in."""
    if chosen.net == 'user':
        local = host in ('127.0.0.1', 'localhost')
        return (USER_THERE, USER_HERE if local else host,
                'user,ipv6=off,restrict=off,hostfwd=tcp:127.0.0.1:%d-%s:%d'
                % (chosen.listen, USER_THERE, PORT), '127.0.0.1:%d' % chosen.listen)
    for command in ('ip tuntap add dev %s mode tap', 'ip addr add ' + TAP_HERE + '/24 dev %s',
                    'ip link set %s up'):
        subprocess.run((command % chosen.tap).split(), check=True)
    pathlib.Path(chosen.dir, 'tap').write_text(chosen.tap, encoding='utf-8')
    return (TAP_THERE, host, 'tap,ifname=%s,script=no,downscript=no' % chosen.tap,
            '%s:%d' % (TAP_THERE, PORT))


def disks_of(chosen):
    folder = pathlib.Path(chosen.dir)
    if not chosen.keep:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / ('kernel.d%d' % n) for n, _ in enumerate(chosen.disk or ['64M'])]
    for path, size in zip(paths, chosen.disk or ['64M']):
        if not path.exists():
            make_disk(path, size)
    return paths


def bring_up(peer, chosen, connect):
    verb = 'apply-al' if chosen.keep else 'create-md'
    for volume, _ in enumerate(peer.disks):
        disk = '/dev/vd' + 'abcdefgh'[volume]
        peer.drbdmeta(verb, disk)
        peer.new_minor(volume)
        peer.attach(disk, volume=volume, options=chosen.disk_options)
    if not chosen.no_connect:
        peer.sh(connect)


def run(chosen, ready):
    """The keeper: boots the guest, reports, and stays until the guest ends."""
    host, port = chosen.peer.rsplit(':', 1)
    disks = disks_of(chosen)
    mine, theirs, netdev, way_in = network(chosen, host)
    with KernelPeer('kernel', chosen.dir, disks, netdev=netdev, ip=mine + '/24',
                    pcap=chosen.pcap) as peer:
        pathlib.Path(chosen.dir, 'keeper').write_text(str(os.getpid()), encoding='utf-8')
        seconds = peer.boot()
        if chosen.net == 'user':
            peer.sh('ip route add default via ' + USER_HERE)
        connect = ('drbdsetup-84 connect r0 ipv4:%s:%d ipv4:%s:%s %s'
                   % (mine, PORT, theirs, port, chosen.net_options))
        if not chosen.no_up:
            bring_up(peer, chosen, connect)
        ready.write(json.dumps({
            'pid': peer.pid, 'boot_seconds': round(seconds, 1),
            'commands': peer.path('commands.sock'), 'console': peer.path('console'),
            'disks': peer.disks, 'kernel_listens_at': way_in, 'kernel_connects_to': chosen.peer,
            'connect': connect}, indent=1) + '\n')
        ready.close()
        peer.channel.close()        # for other processes
        peer.process.wait()


def stop(chosen):
    folder = pathlib.Path(chosen.dir)
    keeper = folder / 'keeper'
    if keeper.exists():
        try:
            os.kill(int(keeper.read_text(encoding='utf-8')), signal.SIGTERM)
        except ProcessLookupError:
            pass
        keeper.unlink()
    tap = folder / 'tap'
    if tap.exists():
        subprocess.run(['ip', 'link', 'del', tap.read_text(encoding='utf-8')], check=False)
        tap.unlink()


def main():
    chosen = arguments()
    if chosen.stop:
        stop(chosen)
        return
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        os.setsid()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with open(os.devnull, 'r+b') as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(nothing.fileno(), 1)
        run(chosen, os.fdopen(writer, 'w'))
        return
    os.close(writer)
    with os.fdopen(reader) as answer:
        report = answer.read()
    if not report:
        sys.exit('kernel-peer.sh: the guest did not come up; its console is %s/kernel.console'
                 % chosen.dir)
    print(report, end='')


if __name__ == '__main__':
    main()
