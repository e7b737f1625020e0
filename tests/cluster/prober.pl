#!/usr/bin/perl
# prober.pl ADDRESS: asks the server there over UDP, a question each millisecond, each with a number that its answer repeats.
# For each word that it reads, `closed` or `open`, it says `go`, and then when the first question was sent that stays without
# an answer, or that has one again: seconds since 1970, or `never` after half a minute. Not here: what happens meanwhile.
use strict;
use warnings;
use IO::Select;
use IO::Socket::IP;
use Time::HiRes qw(time);

# Answers are late on a busy machine; what comes later than this does not come.
my $late = 0.25;
my $socket = IO::Socket::IP->new(PeerHost => $ARGV[0], PeerPort => 8080, Proto => 'udp') or die "no socket: $@\n";
my $select = IO::Select->new($socket);
my $next = 0;
$| = 1;
while (my $word = <STDIN>) {
    chomp $word;
    print "go\n";
    my ($first, $since, $end) = ($next, undef, time + 30);
    my ($last, @sent) = ($first - 1);
    while (!defined $since && time < $end) {
        push @sent, time;
        $socket->send('echo ' . $next++);
        my $wait = 0.001;
        while ($select->can_read($wait)) {
            $wait = 0;
            # Refused, as long as nobody listens there: no answer.
            my $answer;
            next unless defined $socket->recv($answer, 64) && $answer =~ /^(\d+)$/ && $1 >= $first;
            $last = $1 if $1 > $last;
            $since //= $sent[$1 - $first] if $word eq 'open';
        }
        my $unanswered = $sent[$last + 1 - $first];
        $since = $unanswered if $word eq 'closed' && defined $unanswered && time - $unanswered > $late;
    }
    print defined $since ? sprintf("%.6f\n", $since) : "never\n";
}
