package etcfiles

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// collect returns the rows of a parser, copied.
func collect[R any](t *testing.T, parse func(yield func(*R) bool) error) []R {
	t.Helper()
	var rows []R
	if err := parse(func(r *R) bool { rows = append(rows, *r); return true }); err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestServices(t *testing.T) {
	const content = "# Network services\n" +
		"tcpmux\t\t1/tcp\t\t\t\t# TCP port service multiplexer\n" +
		"discard\t\t9/tcp\t\tsink null\n" +
		"  ssh 22/tcp # SSH #Remote Login## Protocol \r\n" +
		"\n" +
		"highest 65535/udp" + // no line feed at the end
		"\n"
	got := collect(t, func(yield func(*Service) bool) error { return Services(strings.NewReader(content), yield) })
	want := []Service{
		{Name: "tcpmux", Port: 1, Protocol: "tcp", Comment: "TCP port service multiplexer"},
		{Name: "discard", Port: 9, Protocol: "tcp", Aliases: "sink null"},
		{Name: "ssh", Port: 22, Protocol: "tcp", Comment: "SSH # Remote Login # Protocol"},
		{Name: "highest", Port: 65535, Protocol: "udp"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestGarbageIsLeftOut(t *testing.T) {
	const garbage = "x\nx y\nx 1\nx 1/\nx /tcp\nx 65536/tcp\nx -1/tcp\nx 1/tcp/udp\nx # 1/tcp\n\x00\n\xff\xfe 1\n"
	last := "last 7/tcp"
	got := collect(t, func(yield func(*Service) bool) error {
		return Services(strings.NewReader(garbage+strings.Repeat("long ", MaxLine)+"\n"+last), yield)
	})
	if diff := cmp.Diff([]Service{{Name: "last", Port: 7, Protocol: "tcp"}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestLineLength(t *testing.T) {
	fits := "a 1/tcp " + strings.Repeat("x", MaxLine-len("a 1/tcp \n"))
	got := collect(t, func(yield func(*Service) bool) error {
		return Services(strings.NewReader(fits+"\n"+fits+"y\n"), yield)
	})
	if len(got) != 1 {
		t.Errorf("%d rows, want that of the line of MaxLine bytes alone", len(got))
	}
}

func TestProtocols(t *testing.T) {
	const content = "ip\t0\tIP\t\t# internet protocol, pseudo protocol number\n" +
		"ipv6-icmp 58 IPv6-ICMP ICMP6 # ICMP for IPv6\n" +
		"mptcp\t262\tMPTCP\nbad\t-1\nbad x\nbad\n"
	got := collect(t, func(yield func(*Protocol) bool) error { return Protocols(strings.NewReader(content), yield) })
	want := []Protocol{
		{Name: "ip", Alias: "IP", Comment: "internet protocol, pseudo protocol number"},
		{Name: "ipv6-icmp", Number: 58, Alias: "IPv6-ICMP", Comment: "ICMP for IPv6"},
		{Name: "mptcp", Number: 262, Alias: "MPTCP"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestUsers(t *testing.T) {
	const content = "root:x:0:0:root:/root:/bin/bash\n" +
		"nobody:x:65534:65534:nobody, of course:/nonexistent:/usr/sbin/nologin\n" +
		"#daemon:x:1:1::/:\n" +
		"+@netgroup::0:0:::\n+\n-evil:x:3:3:::\n" +
		"largest:x:4294967295:4294967294::/home/largest:\n" +
		"toolarge:x:4294967296:1:::\nnegative:x:-2:1:::\nempty:x::1:::\n:x:1:1:::\n" +
		"short:x:7:8\nmore:x:9:10:a:b:c:d:e\n"
	got := collect(t, func(yield func(*User) bool) error { return Users(strings.NewReader(content), yield) })
	want := []User{
		{Name: "root", Description: "root", Directory: "/root", Shell: "/bin/bash"},
		{Name: "nobody", UID: 65534, GID: 65534, Description: "nobody, of course", Directory: "/nonexistent", Shell: "/usr/sbin/nologin"},
		{Name: "largest", UID: 4294967295, GID: 4294967294, Directory: "/home/largest"},
		{Name: "short", UID: 7, GID: 8},
		{Name: "more", UID: 9, GID: 10, Description: "a", Directory: "b", Shell: "c"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestGroups(t *testing.T) {
	const content = "root:x:0:\nadm:x:4:syslog, ubuntu,,\n+:::\nbroken:x:y:\nshort:x:5\nfew:x\n"
	var got []Group
	err := Groups(strings.NewReader(content), func(g *Group) bool {
		got = append(got, Group{Name: g.Name, GID: g.GID, Members: slices.Clone(g.Members)})
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []Group{{Name: "root"}, {Name: "adm", GID: 4, Members: []string{"syslog", "ubuntu"}}, {Name: "short", GID: 5}}
	for i := range got {
		if len(got[i].Members) == 0 {
			got[i].Members = nil
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestYieldAndReaderEndTheParse(t *testing.T) {
	rows := 0
	err := Users(strings.NewReader("a:x:1:1\nb:x:2:2\n"), func(*User) bool { rows++; return false })
	if err != nil || rows != 1 {
		t.Errorf("rows, err = %d, %v; want 1, nil", rows, err)
	}
	broken := errors.New("broken")
	if err := Users(iotest.ErrReader(broken), func(*User) bool { return true }); !errors.Is(err, broken) {
		t.Errorf("err = %v, want %v", err, broken)
	}
}

func FuzzParsers(f *testing.F) {
	f.Add("ssh 22/tcp alias # comment\n")
	f.Add("root:x:0:0:root:/root:/bin/bash\nadm:x:4:a,b\n")
	f.Add("#\n\n+\n:::::::::\n\x00/\xff")
	f.Fuzz(func(t *testing.T, content string) {
		oneLine := func(what, s string) {
			if strings.ContainsRune(s, '\n') {
				t.Errorf("%s %q spans lines", what, s)
			}
		}
		err := errors.Join(
			Services(strings.NewReader(content), func(s *Service) bool {
				oneLine("service", s.Name+s.Protocol+s.Aliases+s.Comment)
				if s.Name == "" || s.Protocol == "" {
					t.Errorf("service without name or protocol: %+v", s)
				}
				return true
			}),
			Protocols(strings.NewReader(content), func(p *Protocol) bool {
				oneLine("protocol", p.Name+p.Alias+p.Comment)
				if p.Name == "" || p.Number < 0 {
					t.Errorf("protocol without name or number: %+v", p)
				}
				return true
			}),
			Users(strings.NewReader(content), func(u *User) bool {
				oneLine("user", u.Name+u.Description+u.Directory+u.Shell)
				if u.Name == "" || strings.Contains(u.Name+u.Description+u.Directory+u.Shell, ":") {
					t.Errorf("user %+v", u)
				}
				return true
			}),
			Groups(strings.NewReader(content), func(g *Group) bool {
				oneLine("group", g.Name)
				if g.Name == "" || slices.Contains(g.Members, "") {
					t.Errorf("group %+v", g)
				}
				return true
			}),
		)
		if err != nil {
			t.Error(err)
		}
	})
}
