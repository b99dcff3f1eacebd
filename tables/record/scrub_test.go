package record

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestScrubAddr(t *testing.T) {
	s := newScrubber()
	seen := map[netip.Addr]string{}
	for text, class := range map[string]string{
		"10.1.2.3": "10.0.0.0/8", "172.20.0.1": "172.16.0.0/12", "192.168.7.7": "192.168.0.0/16",
		"100.64.1.1": "100.64.0.0/10", "169.254.9.9": "169.254.0.0/16", "224.0.0.251": "224.0.0.0/4",
		"8.8.8.8": "198.18.0.0/15", "1.1.1.1": "198.18.0.0/15",
		"fe80::1234": "fe80::/10", "fd12::1": "fc00::/7", "ff02::fb": "ff02::/16", "ff05::2": "ff00::/8",
		"2a00:1450::1": "2001:db8::/32", "2001:db8::7": "2001:db8::/32",
	} {
		a := netip.MustParseAddr(text)
		to := s.Addr(a)
		if to == a || !netip.MustParsePrefix(class).Contains(to) {
			t.Errorf("%s became %s, want another one in %s", a, to, class)
		}
		if s.Addr(a) != to {
			t.Errorf("%s became %s, and then %s", a, to, s.Addr(a))
		}
		if other, ok := seen[to]; ok {
			t.Errorf("%s and %s both became %s", text, other, to)
		}
		seen[to] = text
		if a.Is4() {
			mapped := netip.AddrFrom16(a.As16())
			if got := s.Addr(mapped); !got.Is4In6() || got.Unmap() != to {
				t.Errorf("%s became %s, want %s mapped", mapped, got, to)
			}
		}
	}
	for _, same := range []string{"0.0.0.0", "::", "127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "255.255.255.255"} {
		if got := s.Addr(netip.MustParseAddr(same)); got.String() != same {
			t.Errorf("%s became %s", same, got)
		}
	}
	if got := s.Addr(netip.Addr{}); got.IsValid() {
		t.Errorf("no address became %s", got)
	}
}

// TestScrubRange takes a small range around: nothing outside of it is handed
// out, nothing twice in a row, and never its first address.
func TestScrubRange(t *testing.T) {
	p := pool{to: netip.MustParsePrefix("192.0.2.0/29")}
	var got []string
	for range 9 {
		got = append(got, p.take().String())
	}
	want := strings.Fields("192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5 192.0.2.6 192.0.2.7 192.0.2.1 192.0.2.2")
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestScrubFiles(t *testing.T) {
	s := newScrubber()
	word := s.word
	for _, c := range []struct{ name, text, want string }{
		{"comm", "secret\n", word("secret") + "\n"},
		{"stat", "7 (a (b) c) S 1", "7 (" + word("a (b) c") + ") S 1"},
		{"stat", "7 no name", ""},
		{"status", "Name:\ta\\nb\\\\c\nUmask:\t0022\n", "Name:\t" + word("a\nb\\c") + "\nUmask:\t0022\n"},
		{"cmdline", "/usr/secret\x00-x\x00\x00", "/" + word("usr") + "/" + word("secret") + "\x00" + word("-x") + "\x00\x00"},
		{"environ", "HOME=/home/secret\x00odd\x00", word("HOME") + "=/" + word("home") + "/" + word("secret") + "\x00" + word("odd") + "\x00"},
		{"cgroup", "0::/a/b (deleted)\n1:name=x:/\nodd\n", "0::/" + word("a") + "/" + word("b") + " (deleted)\n1:name=x:/\n\n"},
		{"fdinfo", "pos:\t0\nflags:\t02\ninotify wd:1 ino:2\n", "pos:\t0\nflags:\t02\n\n"},
		{"maps", "1-2 r-xp 0 fd:0 7    /usr/secret\n2-3 rw-p 0 0:0 0 \n3-4 rw-p 0 0:0 0 [heap]\n4-5 rw-p 0 0:0 0 [anon:secret]\n",
			"1-2 r-xp 0 fd:0 7    /" + word("usr") + "/" + word("secret") + "\n2-3 rw-p 0 0:0 0 \n3-4 rw-p 0 0:0 0 [heap]\n4-5 rw-p 0 0:0 0 [anon:" + word(":secret]") + "]\n"},
		{"io", "rchar: 1\n", "rchar: 1\n"},
	} {
		if got := string(s.processFile(c.name, []byte(c.text))); got != c.want {
			t.Errorf("%s %q became %q, want %q", c.name, c.text, got, c.want)
		}
		var keep *scrubber
		if got := string(keep.processFile(c.name, []byte(c.text))); got != c.text {
			t.Errorf("%s %q became %q without a scrubber", c.name, c.text, got)
		}
	}
}

func TestScrubTargets(t *testing.T) {
	s := newScrubber()
	for target, want := range map[string]string{
		"socket:[7]": "socket:[7]", "pipe:[8]": "pipe:[8]", "anon_inode:[eventfd]": "anon_inode:[eventfd]",
		"anon_inode:inotify": "anon_inode:inotify", "net:[4026531840]": "net:[4026531840]",
		"/home/x:[7]": "/" + s.word("home") + "/" + s.word("x:[7]"),
		"/":           "/", "/a/b (deleted)": "/" + s.word("a") + "/" + s.word("b") + " (deleted)",
		"secret:name": s.word("secret:name"),
	} {
		if got := s.target(target); got != want {
			t.Errorf("%q became %q, want %q", target, got, want)
		}
	}
}

func TestScrubMounts(t *testing.T) {
	s := newScrubber()
	text := "29 1 254:1 /root\\040dir /home/secret rw,relatime shared:1 - ext4 /dev/secret rw,errors=secret\n" +
		"30 29 0:4 net:[4026532234] /run/netns/blue ro - nsfs nsfs ro\nodd line\n"
	got := string(s.mounts([]byte(text)))
	want := "29 1 254:1 /" + s.word("root dir") + " /" + s.word("home") + "/" + s.word("secret") + " rw,relatime shared:1 - ext4 /" + s.word("dev") + "/" + s.word("secret") + " rw\n" +
		"30 29 0:4 net:[4026532234] /" + s.word("run") + "/" + s.word("netns") + "/" + s.word("blue") + " ro - nsfs " + s.word("nsfs") + " ro\n\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestScrubLists(t *testing.T) {
	s := newScrubber()
	for _, c := range []struct{ name, text, want string }{
		{"if_inet6", "20010db8000000000000000000000001 01 80 00 80 lo\nodd\n", `^20010db8[0-9a-f]{24} 01 80 00 80 lo\n\n$`},
		{"igmp", "Idx\tDevice\n1\tlo : 1 V3\n\t\t\t\tFB0000E0     1 0:0\t\t0\n\t\t\t\tx 1\n", `^Idx\tDevice\n1\tlo : 1 V3\n\t\t\t\t[0-9A-F]{6}E[0-9A-F]     1 0:0\t\t0\n\n$`},
		{"igmp6", "1    lo     ff050000000000000000000000012345     1 0000000C 0\nodd\n", `^1 lo ff05[0-9a-f]{28} 1 0000000C 0\n\n$`},
		{"snmp", "Ip: Forwarding\nIp: 1\n", `^Ip: Forwarding\nIp: 1\n$`},
		{"dev_mcast", "2    eth0 1 0 01005e0000fb\nodd\n", `^2 eth0 1 0 000000000000\n\n$`},
		{"packet", "sk RefCnt\nff 3\n", `^sk RefCnt\nff 3\n$`},
		{"tcp", "  sl  local\n   0: 0100007F:0016 08080808:01BB 0A 0:0\nodd\n  1: 12:3 4:5 6\n", `^  sl  local\n0: 0100007F:0016 [0-9A-F]{8}:01BB 0A 0:0\n\n\n$`},
	} {
		got := string(s.netFile(c.name, []byte(c.text)))
		if !regexp.MustCompile(c.want).MatchString(got) || strings.Contains(got, "08080808") || strings.Contains(got, "12345") {
			t.Errorf("%s %q became %q, want %q", c.name, c.text, got, c.want)
		}
	}
	text := "Num       RefCount Protocol Flags    Type St Inode Path\n" +
		"0000000000000000: 00000002 00000000 00010000 0001 01 17 /run/new\nline\n" +
		"0000000000000000: 00000002 00000000 00010000 0001 01 18 @ab@stract\n" +
		"0000000000000000: 00000002 00000000 00010000 0001 01    19\n"
	want := "Num       RefCount Protocol Flags    Type St Inode Path\n" +
		"0000000000000000: 00000002 00000000 00010000 0001 01 17 /" + s.word("run") + "/" + s.word("new\nline") + "\n" +
		"0000000000000000: 00000002 00000000 00010000 0001 01 18 @" + s.word("ab\x00stract") + "\n" +
		"0000000000000000: 00000002 00000000 00010000 0001 01    19\n"
	if got := string(s.netFile("unix", []byte(text))); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func FuzzScrub(f *testing.F) {
	f.Add("tcp", "  sl  local\n   0: 0100007F:0016 08080808:01BB 0A\n")
	f.Add("unix", "Num\n0000000000000000: 00000002 00000000 00010000 0001 01 17 /run/x\n")
	f.Add("maps", "1-2 r-xp 0 fd:0 7 /x\n")
	f.Add("mounts", "29 1 254:1 / /home rw - ext4 /dev/x rw\n")
	f.Fuzz(func(t *testing.T, name, text string) {
		const secret = "Zz0secret0zZ"
		text = strings.ReplaceAll(text, "x", secret)
		s := newScrubber()
		var got string
		switch name {
		case "unix", "tcp", "if_inet6", "igmp", "dev_mcast":
			got = string(s.netFile(name, []byte(text)))
		case "mounts":
			got = string(s.mounts([]byte(text)))
		case "cmdline", "environ", "comm":
			got = string(s.processFile(name, []byte(text)))
			if strings.Contains(got, secret) {
				t.Errorf("%s %q became %q", name, text, got)
			}
		default:
			got = string(s.processFile(name, []byte(text)))
		}
		if lines := strings.Count(got, "\n"); lines > strings.Count(text, "\n")+1 {
			t.Errorf("%s %q became %q, with %d lines", name, text, got, lines)
		}
	})
}
