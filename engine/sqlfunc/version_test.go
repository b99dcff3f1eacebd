package sqlfunc

import (
	"strings"
	"testing"
)

func TestVersionCompare(t *testing.T) {
	const need, flavor = "Must provide two version strings to compare.", "The optional third parameter does not match one of: (ARCH, DPKG, RHEL)."
	check(t, "version_compare", []call{
		// osquery's own expectations.
		{args: []any{"1.0", "1.0"}, want: 0},
		{args: []any{"1:2.0-10", "1:2.0-10", "DPKG"}, want: 0},
		{args: []any{"4:1.1.0", "4:1.1.0-3", "arCH"}, want: 0},
		{args: []any{"50.4.1b", "50.4.1c"}, want: -1},
		{args: []any{"1.0.8-4", "1.0.8-6", "arch"}, want: -1},
		{args: []any{"1.0.0~rc2^2021", "1.0.0", "RHEL"}, want: -1},
		{args: []any{"1.1.0~BETA2^1", "1.1.0~CR1", "RhEl"}, want: -1},
		{args: []any{"1.0.1.1", "1.0.1^2021", "rhel"}, want: 1},
		{args: []any{"1.9.9-1ubuntu2.4", "1.9.9-1ubuntu2.3", "dpkg"}, want: 1},
		{args: []any{"1:1.2.13-2", "4.2.1", "ARCH"}, want: 1},
		{args: []any{"106.32.1", "106:32.1"}, want: 0},
		{args: []any{"1.2.3", "1.10"}, want: -1},
		{args: []any{"1.0~rc1", "1.0", "DPKG"}, want: 1}, // dpkg says otherwise
		{args: []any{"", ""}, want: 0},
		{args: []any{"", "1"}, want: -1},
		{args: []any{"1", ""}, want: 1},
		{args: []any{"1.0\x00x", "1.0"}, want: 0},
		{err: need},
		{args: []any{"1"}, err: need},
		{args: []any{"1", nil}, err: need},
		{args: []any{1, "1"}, err: need},
		{args: []any{"1", "2", nil}, err: "The optional third parameter is not a string."},
		{args: []any{"1", "2", "debian"}, err: flavor},
		{args: []any{"1", "2", ""}, err: flavor},
		{args: []any{"1", "2", "DPKG", 7}, want: -1}, // a fourth one is not looked at
	})
}

// The pairs are osquery's expectations for its collating sequences.
func TestCollations(t *testing.T) {
	for _, k := range []struct{ name, pairs string }{
		{"version", `1.0 = 1.0  1:0.0 = 1.0.0  2.50^1a = 2.50~1a  1.0 < 1.1  1.1 < 1.a  50.4.1b < 50.4.1c
			1.0.0 < 1.0.0-2  1.0.0-2 < 1:0.0.3  1.12.1 < 1.13  190.10a > 20.10a  20.10a > 20.102
			57:4 > 6.87.5  98.100.21-1b > 98.100.21-1a  8.11 > 8.10.24`},
		{"version_arch", `1.0 = 1.0  1.0 = 1.0-4  4:2 = 4:2-1  1.0 < 1.1  1.6.1-9 < 1.6.1-10
			20220713-1 < 20221123-1  2-2pre < 2-2rc  2.38-6 < 2.39-4  1.0.8-4 < 1.0.8-5
			41.1-2 < 43alpha+r8+g1de47dbc-1  9.1-1 < 9.1-3  1:42.3.1-1 < 1:43.2-1  42.3-1 < 43.2-1
			3.46.7-1 > 3.44.1-1  6.0.12.arch1-1 > 5.18.14.arch1-1  5.6.0-2 > 5.3.0-2
			3:0.164.r3095.baee400-4 > 3:0.164.r3081.19856cc-2  0.23.90-1 > 0.23.1-9  1:1.2.13-2 > 4.2.1`},
		{"version_dpkg", `1.0 = 1.0  1.0-0 = 1.0-0  1:2.0-10 = 1:2.0-10  22.07.5-2ubuntu1.3 < 22.07.5-2ubuntu1.4
			12ubuntu4.2 < 12ubuntu4.3  2.38-4ubuntu2.1 < 2.38-4ubuntu2.2
			2.5.13+dfsg-0ubuntu0.22.04.1 < 2.5.14+dfsg-0ubuntu0.22.04.2  1.21.1ubuntu2.2 > 1.21.1ubuntu2.1
			3.0.2-0ubuntu1.10 > 3.0.2-0ubuntu1.8  2:8.2.3995-1ubuntu2.9 > 2:8.2.3995-1ubuntu2.3`},
		{"version_rhel", `0.5.0~rc1^202 = 0.5.0~rc1^202  1.0.0~rc2^2021 < 1.0.0  1.0.0 < 1.0.1  1.0.1 < 1.0.1^2021
			1.0.1^2021 < 1.0.1.security1  1.0.1 < pkg-1.0.1.security1  1.1.0~BETA2 < 1.1.0~CR1
			1.1.0.2021.SP1 < 1.1.0.2021.SP1_CP1  9.11.4-26.P2.el7_9.10 < 32:9.11.4-26.P2.el7_9.13
			1:1.8.0.352.b08-2.el7_9 < 1:1.8.0.372.b07-1.el7_9  5.6.0-1.linux < 5.9.1-1.linux
			1.0.0~rc2 > 1.0.0~rc1  1.0.0 > 1.0.0~rc2  1.1.0~BETA > 1.0.1.security1
			1.1.0.20201001.GA1 > 1.1.0~CR1  1.0.0~rc2^20210101gf00fabd > 1.0.0~rc2
			1.0.0 > 1.0.0~rc2^20210101gf00fabd  1.0.1^20210203gbbbccc0 > 1.0.1`},
	} {
		for _, c := range Collations() {
			if c.Name != k.name {
				continue
			}
			words := strings.Fields(k.pairs)
			for i := 0; i+2 < len(words); i += 3 {
				want := strings.Index("<=>", words[i+1]) - 1
				if got := c.Compare(words[i], words[i+2]); got != want {
					t.Errorf("%s: %s against %s = %d, want %d", c.Name, words[i], words[i+2], got, want)
				}
			}
		}
	}
}

// A sort must at least not see a and b in two orders.
func FuzzCollations(f *testing.F) {
	f.Add("1:1.0~rc1-2", "1.0^3")
	f.Add("1.0-", "\xff.")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, c := range Collations() {
			ab, ba := c.Compare(a, b), c.Compare(b, a)
			if ab != -ba || ab < -1 || ab > 1 {
				t.Errorf("%s: %q against %q = %d, the other way %d", c.Name, a, b, ab, ba)
			}
			if c.Compare(a, a) != 0 {
				t.Errorf("%s: %q differs from itself", c.Name, a)
			}
		}
	})
}
