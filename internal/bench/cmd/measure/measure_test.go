package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"sockql/internal/bench/load"
	"sockql/internal/bench/timing"
)

func TestCounters(t *testing.T) {
	for name, test := range map[string]struct {
		count counter
		text  string
		want  int
	}{
		"ss": {ssLine, `Netid State  Recv-Q Send-Q Local Address:Port Peer Address:Port Process
tcp   LISTEN 0      128    127.1.0.5:40001      0.0.0.0:*     users:(("sockload",pid=11,fd=4))
tcp   ESTAB  0      0      127.1.0.5:40001      127.0.0.1:5   users:(("other",pid=110,fd=4))
u_str ESTAB  0      0      * 1161               * 1162
udp   UNCONN 0      0      127.1.0.5:9          0.0.0.0:*     users:(("sockload",pid=12,fd=9),("sockload",pid=11,fd=9))
`, 2},
		"netstat": {netstatLine, `Active Internet connections (servers and established)
Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name
tcp        0      0 127.1.0.5:40001         0.0.0.0:*               LISTEN      11/sockload
tcp        0      0 0.0.0.0:2024            0.0.0.0:*               LISTEN      -
Active UNIX domain sockets (servers and established)
Proto RefCnt Flags       Type       State         I-Node   PID/Program name     Path
unix  2      [ ACC ]     STREAM     LISTENING     5737     12/sockload          @sockload/12/0
unix  3      [ ]         STREAM     CONNECTED     5738     7/other              /run/11/x
`, 2},
		"lsof": {lsofLine, `COMMAND    PID USER   FD   TYPE DEVICE SIZE/OFF NODE NAME
sockload    11 root    4u  IPv4  57375      0t0  TCP 127.1.0.5:40001 (LISTEN)
sockload  1100 root    4u  IPv4  57375      0t0  TCP 127.1.0.5:40001 (LISTEN)
`, 1},
		"json": {jsonLine, `[
  {"family":"2","fd":"5","pid":"11","state":"LISTEN"},
  {"family":"2","fd":"5","pid":"-1","state":"LISTEN"},
  {"family":"2","fd":"5","pid":"12","state":""}
]
`, 2},
		"gopsutil": {jsonLine, `{"fd":3,"family":2,"uids":[],"pid":11}
{"fd":3,"family":2,"uids":[],"pid":0}
`, 1},
		"number": {number, `[
  {"n":"100020"}
]
`, 100020},
	} {
		n, err := test.count(strings.NewReader(test.text), map[int]bool{11: true, 12: true})
		if err != nil || n != test.want {
			t.Errorf("%s: %d %v, want %d", name, n, err, test.want)
		}
	}
	if n, err := number(strings.NewReader("[]"), nil); err == nil {
		t.Errorf("no row counts as %d", n)
	}
}

func TestVersion(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "",
		"sockql version v1.2-3-gabcd": "1.2-3-gabcd",
		"sockql version unknown":      "sockql version unknown",
		"ss utility, iproute2-6.1.0, libbpf 1.1.0":                       "6.1.0",
		"net-tools 2.10\nFred Baumgarten, Alan Cox":                      "2.10",
		"lsof version information:\n    revision: 4.95.0\n latest: x v ": "4.95.0",
		"osqueryi version 5.23.0\n":                                      "5.23.0",
	} {
		if got := version(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestLoads(t *testing.T) {
	c := config{sockets: []int{50, 3000, 1000}, perProcess: 100, namespaces: 50}
	want := []load.Config{{Processes: 1, Sockets: 50, Namespaces: 1}, {Processes: 30, Sockets: 3000, Namespaces: 1}, {Processes: 10, Sockets: 1000, Namespaces: 1}, {Processes: 30, Sockets: 3000, Namespaces: 30}}
	if got := c.loads(true); !slices.Equal(got, want) {
		t.Errorf("as root: %+v, want %+v", got, want)
	}
	for i := range want {
		want[i].Namespaces = 0
	}
	if got := c.loads(false); !slices.Equal(got, want[:3]) {
		t.Errorf("without root: %+v, want %+v", got, want[:3])
	}
}

// shell is a contender that runs a script.
func shell(name, script string, count counter) contender {
	return contender{name: name, command: []string{"/bin/sh", "-c", script}, count: count}
}

func TestAsk(t *testing.T) {
	m := &meter{pace: pace{runs: 4, budget: time.Minute, limit: time.Minute}, home: t.TempDir(), log: io.Discard}
	answers, err := m.ask(t.Context(), question{key: "k", title: "t", contenders: []contender{
		shell("fine", `echo '{"pid":"7"}'; echo a >> order`, jsonLine),
		shell("complains", "echo b >> order; echo one >&2; echo two >&2; exit 3", nil),
	}}, []int{7})
	if err != nil {
		t.Fatal(err)
	}
	fine, complains := answers[0], answers[1]
	if len(fine.Runs) != 4 || fine.Seen != 1 || fine.Exit != 0 || fine.Remark != "" {
		t.Errorf("%+v", fine)
	}
	if len(complains.Runs) != 4 || complains.Seen != -1 || complains.Exit != 3 || complains.Remark != "one (and 1 lines more)" {
		t.Errorf("%+v", complains)
	}
	for _, r := range append(fine.Runs, complains.Runs...) {
		if r.Wall <= 0 || r.Peak <= 0 {
			t.Errorf("a run without figures: %+v", r)
		}
	}
	var order timing.Answer
	if _, err := m.once(t.Context(), shell("order", "tr -d '\\n' < order", nil), func(r io.Reader) error {
		text, err := io.ReadAll(r)
		// Once each to warm up, then in turns, with another one first.
		if want := "ab" + "ab" + "ba" + "ab" + "ba"; string(text) != want {
			t.Errorf("order %q, want %q", text, want)
		}
		return err
	}, &order); err != nil {
		t.Error(err)
	}
}

func TestAskStops(t *testing.T) {
	m := &meter{pace: pace{runs: 9, budget: 1, limit: time.Minute}, home: t.TempDir(), log: io.Discard}
	q := question{contenders: []contender{shell("slow", "true", nil)}}
	answers, err := m.ask(t.Context(), q, nil)
	if err != nil || len(answers[0].Runs) != enough {
		t.Errorf("beyond the budget: %d runs, %v", len(answers[0].Runs), err)
	}

	m.pace.limit = time.Millisecond
	q.contenders[0] = shell("endless", "exec sleep 1000", nil)
	answers, err = m.ask(t.Context(), q, nil)
	if err != nil || len(answers[0].Runs) != 0 || answers[0].Limit != time.Millisecond {
		t.Errorf("beyond the limit: %+v, %v", answers, err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.ask(ctx, q, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
	q.contenders[0].command = []string{"/nonexistent"}
	if _, err := m.ask(t.Context(), q, nil); err == nil {
		t.Error("a program that is missing is no error")
	}
}

// The questions name the programs that are there, and no others.
func TestQuestions(t *testing.T) {
	sh := "/bin/sh" // stands for sockql
	p := programs{sockql: sh, osqueryi: "/nonexistent", gopsockets: ""}
	l := load.Load{PIDs: []int{1}, Mix: load.Mix{UDP4: 100}}
	one := p.questions(l, load.Config{Sockets: 100, Processes: 1, Namespaces: 1}, 42)
	if len(one) != 8 {
		t.Errorf("%d questions", len(one))
	}
	for _, q := range one {
		if q.contenders[0].name != "sockql" || q.contenders[0].command[0] != sh {
			t.Errorf("%s: %+v", q.title, q.contenders)
		}
		for _, c := range q.contenders {
			if c.name == "osqueryi" || c.name == "gopsutil" {
				t.Errorf("%s: %s is not installed", q.title, c.name)
			}
			if q.key == "pid" && !strings.Contains(strings.Join(c.command, " "), "42") {
				t.Errorf("%s: %q", q.title, c.command)
			}
		}
	}
	if spread := p.questions(l, load.Config{Sockets: 100, Processes: 10, Namespaces: 5}, 42); len(spread) != 1 || spread[0].key != "all" {
		t.Errorf("over namespaces: %+v", spread)
	}
}
