package procfs

import (
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"sockql/tables/internal/socket"
)

func TestLineReader(t *testing.T) {
	long := strings.Repeat("x", 20)
	for _, test := range []struct {
		input string
		want  []string // "!" stands for a line that is too long
	}{
		{"", nil},
		{"\n", []string{""}},
		{"one\ntwo\n", []string{"one", "two"}},
		{"one\n\nlast without newline", []string{"one", "", "!"}},
		{"one\nlast", []string{"one", "last"}},
		{long + "\nnext\n", []string{"!", "next"}},
		{"a\n" + long + long + long + "\nb\n" + long, []string{"a", "!", "b", "!"}},
		{"0123456789abcde\nexactly\n", []string{"0123456789abcde", "exactly"}},
	} {
		for name, r := range map[string]io.Reader{
			"whole":   strings.NewReader(test.input),
			"by byte": iotest.OneByteReader(strings.NewReader(test.input)),
			"eof":     iotest.DataErrReader(strings.NewReader(test.input)),
		} {
			l := lineReader{r: r, buf: make([]byte, 16)}
			var got []string
			for {
				line, err := l.next()
				if err == io.EOF {
					break
				}
				if err == errLineTooLong {
					line = []byte("!")
				} else if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(line))
				if l.number != len(got) {
					t.Errorf("%q %s: line %d is numbered %d", test.input, name, len(got), l.number)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%q %s (-want +got):\n%s", test.input, name, diff)
			}
		}
	}
}

func TestReadErrorEndsList(t *testing.T) {
	broken := errors.New("broken")
	l := list{
		lines:   lineReader{r: io.MultiReader(strings.NewReader("header\n"), iotest.ErrReader(broken)), buf: make([]byte, 512)},
		decoder: newDecoder(socket.TCP4, 0, 100),
	}
	if err := l.each(func(*socket.Socket) bool { return true }); err != broken {
		t.Errorf("got %v", err)
	}
}

func TestCursor(t *testing.T) {
	for _, test := range []struct {
		line string
		take func(*cursor) any
		want any // nil: malformed
	}{
		{"  7 ", func(c *cursor) any { return c.dec("n") }, uint64(7)},
		{"18446744073709551615", func(c *cursor) any { return c.dec("n") }, uint64(math.MaxUint64)},
		{"18446744073709551616", func(c *cursor) any { return c.dec("n") }, nil},
		{"99999999999999999999", func(c *cursor) any { return c.dec("n") }, nil},
		{"000000000000000000007", func(c *cursor) any { return c.dec("n") }, nil},
		{"7x", func(c *cursor) any { return c.dec("n") }, nil},
		{"", func(c *cursor) any { return c.dec("n") }, nil},
		{"4294967295", func(c *cursor) any { return c.dec32("n") }, uint32(math.MaxUint32)},
		{"4294967296", func(c *cursor) any { return c.dec32("n") }, nil},
		{"-2147483648", func(c *cursor) any { return c.signed("n") }, int32(math.MinInt32)},
		{"-2147483649", func(c *cursor) any { return c.signed("n") }, nil},
		{"2147483648", func(c *cursor) any { return c.signed("n") }, nil},
		{"- 1", func(c *cursor) any { return c.signed("n") }, nil},
		{"-", func(c *cursor) any { return c.signed("n") }, nil},
		{"9223372036854775807", func(c *cursor) any { return c.signed64("n") }, int64(math.MaxInt64)},
		{"9223372036854775808", func(c *cursor) any { return c.signed64("n") }, nil},
		{"fFfF", func(c *cursor) any { return c.hex32(1, "n") }, uint32(0xffff)},
		{"1ffffffff", func(c *cursor) any { return c.hex32(1, "n") }, nil},
		{"fff", func(c *cursor) any { return c.hex32(4, "n") }, nil},
		{"10000000000000000", func(c *cursor) any { return c.hex(1, "n") }, nil},
		{"DEADbeef", func(c *cursor) any { return c.word("n") }, uint32(0xdeadbeef)},
		{"DEADbee", func(c *cursor) any { return c.word("n") }, nil},
		{"DEADbee:", func(c *cursor) any { return c.word("n") }, nil},
		{"", func(c *cursor) any { return c.token("n") }, nil},
	} {
		c := cursor{line: []byte(test.line)}
		got := test.take(&c)
		if test.want == nil {
			if err := c.err(); err == nil || !strings.Contains(err.Error(), "no valid n in") {
				t.Errorf("%q: %v, %v; want an error", test.line, got, err)
			}
		} else if got != test.want || c.err() != nil {
			t.Errorf("%q: %v, %v; want %v", test.line, got, c.err(), test.want)
		}
	}
	c := cursor{line: []byte(strings.Repeat("y", 1000))}
	c.dec("n")
	if err := c.err(); len(err.Error()) > 120 {
		t.Errorf("an error of %d bytes quotes the whole line", len(err.Error()))
	}
}

func TestMilliseconds(t *testing.T) {
	for _, test := range []struct {
		hz, ticks uint64
		want      uint32
	}{{100, 20, 200}, {1000, 20, 20}, {1024, 1024, 1000}, {100, 1 << 40, math.MaxUint32}, {1, 1 << 31, math.MaxUint32}} {
		d := newDecoder(socket.TCP4, 0, test.hz)
		if got := d.milliseconds(test.ticks); got != test.want {
			t.Errorf("%d ticks of 1/%d s are %d ms, want %d", test.ticks, test.hz, got, test.want)
		}
	}
}

func TestParseStatNames(t *testing.T) {
	const rest = " S 1 2 3 0 -1 4194304 0 0 0 0 5 6 0 0 20 0 1 0 77 4096 1"
	for _, name := range []string{"bash", "", "a b", "tmux: server", ") R 9 9", "((x))", "new\nline", "\xff"} {
		s, err := parseStat([]byte("42 (" + name + ")" + rest + "\n"))
		if err != nil || s.Comm != name || s.PID != 42 || s.Parent != 1 || s.StartTicks != 77 {
			t.Errorf("%q: %+v, %v", name, s, err)
		}
	}
	for _, bad := range []string{"", "42", "42 (x", "42 x)", ") (", "x (y)" + rest, "42 (x) SS 1", "42 (x) S 1 2 3"} {
		if s, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: %+v, want an error", bad, s)
		}
	}
}

func TestParseStatusNames(t *testing.T) {
	for escaped, name := range map[string]string{`plain`: "plain", `a\nb`: "a\nb", `a\\nb`: `a\nb`, `\\`: `\`, `x:\ty`: `x:\ty`, ` spaces `: " spaces "} {
		s, err := parseStatus([]byte("Name:\t" + escaped + "\nPid:\t7\n"))
		if err != nil || s.Name != name {
			t.Errorf("%q: %q, %v; want %q", escaped, s.Name, err, name)
		}
	}
	s, err := parseStatus([]byte("Pid:\t7\nNSpid:\t7\t3\t1\nKthread:\t1\nCapEff:\t0000000000080000\nVmLck:\t 52052 kB\n"))
	if err != nil || len(s.NSPIDs) != 3 || s.NSPIDs[2] != 1 || !s.KernelThread || s.LockedSize != 52052<<10 ||
		!s.HasCapability(19) || s.HasCapability(18) || s.HasCapability(-1) || s.HasCapability(64) {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestParseCgroups(t *testing.T) {
	groups, err := parseCgroups([]byte("9:name=systemd:/init\n4:cpu,cpuacct:/a:b\n0::/user.slice/x y (deleted)\n"))
	want := []Cgroup{{9, "name=systemd", "/init"}, {4, "cpu,cpuacct", "/a:b"}, {0, "", "/user.slice/x y (deleted)"}}
	if diff := cmp.Diff(want, groups); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if groups, err := parseCgroups(nil); groups != nil || err != nil {
		t.Errorf("empty file: %v, %v", groups, err)
	}
}

func TestParseBootTime(t *testing.T) {
	for text, want := range map[string]int64{"cpu 1\nbtime 1795340000\n": 1795340000, "btime x\n": -1, "cpu 1\n": -1, "": -1} {
		if got, err := parseBootTime([]byte(text)); err != nil != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func TestParseHidePID(t *testing.T) {
	mounts := func(options string) string {
		return "22 27 0:21 / /proc rw,relatime - proc proc rw\n" +
			"31 27 0:40 / /mnt/with\\040space rw,relatime shared:5 master:1 - proc proc rw" + options + "\n" +
			"32 27 0:40 / /not/proc rw - tmpfs tmpfs rw,hidepid=2\n"
	}
	for options, want := range map[string]HidePID{
		"":                             {},
		",hidepid=0":                   {},
		",gid=7,hidepid=1":             {Mode: HideNoAccess, GID: 7},
		",hidepid=invisible,gid=1000":  {Mode: HideInvisible, GID: 1000},
		",hidepid=2":                   {Mode: HideInvisible},
		",hidepid=ptraceable":          {Mode: HidePtraceable},
		",hidepid=noaccess,subset=pid": {Mode: HideNoAccess},
	} {
		h, err := parseHidePID([]byte(mounts(options)), 0, 40)
		if h != want || err != nil {
			t.Errorf("%q: %+v, %v; want %+v", options, h, err, want)
		}
	}
	for _, options := range []string{",hidepid=9", ",gid=x", ",hidepid"} {
		if h, err := parseHidePID([]byte(mounts(options)), 0, 40); err == nil {
			t.Errorf("%q: %+v, want an error", options, h)
		}
	}
	if h, err := parseHidePID([]byte(mounts("")), 0, 99); err == nil {
		t.Errorf("no such mount: %+v, want an error", h)
	}
	if !(HidePID{Mode: HideNoAccess}).Hides() || (HidePID{Mode: HideInvisible, Exempt: true}).Hides() || (HidePID{}).Hides() {
		t.Error("Hides must be: some mode, and not exempt")
	}
}

func TestLinkInode(t *testing.T) {
	for link, want := range map[string]int64{
		"socket:[307410]": 307410, "socket:[18446744073709551615]": -1 >> 1, "socket:[0]": 0,
		"socket:[]": -2, "socket:[1": -2, "socket:1": -2, "socket:[1]]": -2, "socket:[-1]": -2, "pipe:[1]": -2, "": -2,
		"socket:[18446744073709551616]": -2, "/socket:[1]": -2,
	} {
		inode, ok := linkInode([]byte(link), "socket:[")
		if ok != (want != -2) || ok && int64(inode) != want {
			t.Errorf("%q: %d, %v", link, inode, ok)
		}
	}
}

func TestDirents(t *testing.T) {
	entry := func(name string, size int) []byte {
		b := make([]byte, max(size, direntName+len(name)+1))
		b[16], b[17] = byte(size), byte(size>>8)
		if networkOrder(1) == 1 { // a big-endian host
			b[16], b[17] = b[17], b[16]
		}
		copy(b[direntName:], name)
		return b
	}
	names := func(buf []byte) (got []string) {
		for name, rest := nextDirent(buf); name != nil; name, rest = nextDirent(rest) {
			got = append(got, string(name[:len(name)-1]))
		}
		return got
	}
	buf := append(append(entry(".", 24), entry("1234567", 32)...), entry("self", 24)...)
	if diff := cmp.Diff([]string{".", "1234567", "self"}, names(buf)); diff != "" {
		t.Error(diff)
	}
	for i := range buf { // cut anywhere, it must neither panic nor invent a name
		for _, name := range names(buf[:i]) {
			if name != "." && name != "1234567" && name != "self" {
				t.Errorf("cut at %d: %q", i, name)
			}
		}
	}
	for _, size := range []int{0, 19, 20, 21, 300} {
		if got := names(entry("12345678", size)[:28]); got != nil {
			t.Errorf("an entry that says to be %d bytes long: %q", size, got)
		}
	}
	for name, want := range map[string]int32{"0": 0, "7": 7, "2147483639": 2147483639, "": -1, "x": -1, "1x": -1, "99999999999": -1, "-1": -1} {
		n, ok := direntNumber([]byte(name + "\x00"))
		if ok != (want >= 0) || ok && n != want {
			t.Errorf("%q: %d, %v", name, n, ok)
		}
	}
}
