#!/usr/bin/perl
# foreign.pl PIN INTERFACE...: two TC programs that are not ours and pass every packet on. One is pinned at PIN, for `tc
# filter`; the other is attached to both directions of the interfaces by TCX links, which end with this process. Says for
# each line of input how often either ran. Not here: what ours do beside them (`checks/coexistence.sh`).
use strict;
use warnings;
use POSIX ();

my $bpf = { x86_64 => 321, aarch64 => 280 }->{(POSIX::uname)[4]} or die "no number of bpf(2) for this machine\n";
sub bpf {
    my ($what, $command, $attributes) = @_;
    $attributes .= "\0" x (128 - length $attributes);
    my $result = syscall($bpf, $command, $attributes, length $attributes);
    die "$what: $!\n" if $result < 0;
    return $result;
}
sub at { return unpack('Q', pack('P', $_[0])) }

# r0 = TC_ACT_UNSPEC, which is TCX_NEXT; exit.
my $instructions = pack('CCsl' x 2, 0xb7, 0, 0, -1, 0x95, 0, 0, 0);
my $licence = "GPL\0";
sub load { return bpf('load', 5, pack('LLQQ', 3, 2, at($instructions), at($licence))) }

my ($pin, @interfaces) = @ARGV;
my ($filter, $tcx) = (load(), load());
# Programs count how often they run while this descriptor is open.
my $statistics = bpf('statistics', 32, pack('L', 0));
my $path = "$pin\0";
bpf('pin', 6, pack('QL', at($path), $filter));
for my $interface (@interfaces) {
    open my $file, '<', "/sys/class/net/$interface/ifindex" or die "$interface: $!\n";
    my $index = <$file>;
    bpf("$interface: attach", 28, pack('LLLL', $tcx, $index, $_, 0)) for 46, 47;
}

sub runs {
    open my $file, '<', "/proc/self/fdinfo/$_[0]" or die "fdinfo: $!\n";
    for (<$file>) { return $1 if /^run_cnt:\s*(\d+)/ }
    return 0;
}
$| = 1;
print "ready\n";
print runs($filter), ' ', runs($tcx), "\n" while <STDIN>;
