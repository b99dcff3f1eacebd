package sqlfunc

import (
	"context"
	"strings"
	"testing"
)

// The examples are those of RFC 1321, FIPS 180 and of the empty text.
func TestHashes(t *testing.T) {
	check(t, "md5", []call{
		{args: []any{""}, want: "d41d8cd98f00b204e9800998ecf8427e"},
		{args: []any{"message digest"}, want: "f96b697d7cb7938d525a2f31aaf161d0"},
		{args: []any{123}, want: "202cb962ac59075b964b07152d234b70"},
		{args: []any{[]byte("message digest\x00more")}, want: "f96b697d7cb7938d525a2f31aaf161d0"},
		{args: []any{nil}},
	})
	check(t, "sha1", []call{
		{args: []any{"abc"}, want: "a9993e364706816aba3e25717850c26c9cd0d89d"},
		{args: []any{"\x00abc"}, want: "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
		{args: []any{nil}},
	})
	check(t, "sha256", []call{
		{args: []any{"abc"}, want: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{args: []any{1.5}, want: "9f29a130438b81170b92a42650f9a94291ecad60bd47af2a3886e75f7f728725"},
		{args: []any{nil}},
	})
}

func TestBase64(t *testing.T) {
	// RFC 4648, section 10.
	for plain, encoded := range map[string]string{
		"": "", "f": "Zg==", "fo": "Zm8=", "foo": "Zm9v", "foob": "Zm9vYg==", "fooba": "Zm9vYmE=", "foobar": "Zm9vYmFy",
	} {
		check(t, "to_base64", []call{{args: []any{plain}, want: encoded}})
		check(t, "from_base64", []call{
			{args: []any{encoded}, want: plain},
			{args: []any{strings.TrimRight(encoded, "=")}, want: plain},
		})
	}
	check(t, "to_base64", []call{
		{args: []any{nil}},
		{args: []any{[]byte("a\x00b")}, want: "YQBi"},
		{args: []any{12}, want: "MTI="},
	})
	check(t, "from_base64", []call{
		{args: []any{nil}},
		{args: []any{"Zm9v\nYmFy\r\n"}, want: "foobar"},
		{args: []any{"Zm9v\rYmFy"}, want: ""},
		{args: []any{"Zm9v YmFy"}, want: ""},
		{args: []any{"***"}, want: ""},
		{args: []any{"A"}, want: ""},
		{args: []any{"Zm9vA"}, want: ""},
		{args: []any{"===="}, want: ""},
		{args: []any{"Zm=v"}, want: "f`/"}, // = counts as A
		{args: []any{"Zh=="}, want: "f"},   // surplus bits are dropped
		{args: []any{"YQBi"}, want: "a\x00b"},
		{args: []any{"-_-_"}, want: ""},
		{args: []any{"é"}, want: ""},
	})
	check(t, "conditional_to_base64", []call{
		{args: []any{nil}},
		{args: []any{""}, want: ""},
		{args: []any{" ~printable"}, want: " ~printable"},
		{args: []any{"\x7f"}, want: "fw=="},
		{args: []any{"a\tb"}, want: "YQli"},
		{args: []any{"悪因悪果"}, want: "5oKq5Zug5oKq5p6c"},
	})
}

func FuzzBase64(f *testing.F) {
	f.Add("Zm9vYg==\r\n")
	f.Add("a=b\x00\xff")
	f.Fuzz(func(t *testing.T, s string) {
		if got := fromBase64(toBase64(s)); got != s {
			t.Errorf("%q comes back as %q", s, got)
		}
		fromBase64(s)
		if got := conditionalToBase64(s); got != s && fromBase64(got) != s {
			t.Errorf("%q becomes %q", s, got)
		}
	})
}

// The flows and identifiers are the public test vectors of the specification
// (https://github.com/corelight/community-id-spec and pycommunityid).
func TestCommunityID(t *testing.T) {
	vectors := []struct {
		source, destination         string
		sourcePort, destinationPort int
		protocol                    int
		id, seeded                  string // with the seeds 0 and 1
	}{
		{"192.168.0.89", "192.168.0.1", 8, 0, 1, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=", "1:03g6IloqVBdcZlPyX8r0hgoE7kA="},
		{"192.168.0.1", "192.168.0.89", 0, 8, 1, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=", "1:03g6IloqVBdcZlPyX8r0hgoE7kA="},
		{"192.168.0.1", "192.168.0.89", 0, 20, 1, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=", "1:03g6IloqVBdcZlPyX8r0hgoE7kA="},
		{"192.168.0.89", "192.168.0.1", 20, 0, 1, "1:3o2RFccXzUgjl7zDpqmY7yJi8rI=", "1:lCXHHxavE1Vq3oX9NH5ladQg02o="},
		{"192.168.0.89", "192.168.0.1", 20, 1, 1, "1:tz/fHIDUHs19NkixVVoOZywde+I=", "1:Ie3wmFyxiEyikbsbcO03d2nh+PM="},
		{"fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea", 135, 0, 58, "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=", "1:kHa1FhMYIT6Ym2Vm2AOtoOARDzY="},
		{"fe80::260:97ff:fe07:69ea", "fe80::200:86ff:fe05:80da", 136, 0, 58, "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=", "1:kHa1FhMYIT6Ym2Vm2AOtoOARDzY="},
		{"3ffe:507:0:1:260:97ff:fe07:69ea", "3ffe:507:0:1:200:86ff:fe05:80da", 3, 0, 58, "1:NdobDX8PQNJbAyfkWxhtL2Pqp5w=", "1:OlOWx9psIbBFi7lOCw/4MhlKR9M="},
		{"3ffe:507:0:1:200:86ff:fe05:80da", "3ffe:507:0:1:260:97ff:fe07:69ea", 3, 0, 58, "1:/OGBt9BN1ofenrmSPWYicpij2Vc=", "1:Ij4ZxnC87/MXzhOjvH2vHu7LRmE="},
		{"192.168.170.8", "192.168.170.56", 7, 80, 132, "1:jQgCxbku+pNGw8WPbEc/TS/uTpQ=", "1:Y1/0jQg6e+I3ZwZZ9LP65DNbTXU="},
		{"192.168.170.56", "192.168.170.8", 80, 7, 132, "1:jQgCxbku+pNGw8WPbEc/TS/uTpQ=", "1:Y1/0jQg6e+I3ZwZZ9LP65DNbTXU="},
		{"128.232.110.120", "66.35.250.204", 34855, 80, 6, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=", "1:3V71V58M3Ksw/yuFALMcW0LAHvc="},
		{"66.35.250.204", "128.232.110.120", 80, 34855, 6, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=", "1:3V71V58M3Ksw/yuFALMcW0LAHvc="},
		{"10.0.0.1", "10.0.0.2", 10, 11569, 6, "1:SXBGMX1lBOwhhoDrZynfROxnhnM=", "1:HmBRGR+fUyXF4t8WEtal7Y0gEAo="},
		{"192.168.1.52", "8.8.8.8", 54585, 53, 17, "1:d/FP5EW3wiY1vCndhwleRRKHowQ=", "1:Q9We8WO3piVF8yEQBNJF4uiSVrI="},
		{"8.8.8.8", "192.168.1.52", 53, 54585, 17, "1:d/FP5EW3wiY1vCndhwleRRKHowQ=", "1:Q9We8WO3piVF8yEQBNJF4uiSVrI="},
		{"10.1.24.4", "10.1.12.1", 0, 0, 46, "1:/nQI4Rh/TtY3mf0R2gJFBkVlgS4=", "1:BK3BVW3U2eemuwVQVN3zd/GULno="},
		{"10.1.12.1", "10.1.24.4", 0, 0, 46, "1:/nQI4Rh/TtY3mf0R2gJFBkVlgS4=", "1:BK3BVW3U2eemuwVQVN3zd/GULno="},
	}
	for _, name := range []string{"community_id_v1", "community_id_v1_strict"} {
		for _, v := range vectors {
			args := []any{v.source, v.destination, v.sourcePort, v.destinationPort, v.protocol}
			check(t, name, []call{
				{args: args, want: v.id},
				{args: append(args[:5:5], 0), want: v.id},
				{args: append(args[:5:5], 1), want: v.seeded},
			})
		}
	}
	// osquery's own: an IPv4 address comes before any IPv6 address.
	check(t, "community_id_v1", []call{
		{args: []any{"127.0.0.1", "fe80::14b0:de4a:f8e8:522f", 64, 10, 6}, want: "1:Jww+Ua4pSUNl9TvSUwvSHL4n93w="},
		{args: []any{"fe80::14b0:de4a:f8e8:522f%eth0", "127.0.0.1", 10, 64, 6, 0}, want: "1:Jww+Ua4pSUNl9TvSUwvSHL4n93w="},
	})
}

func TestCommunityIDErrors(t *testing.T) {
	lax := function(t, Config{}, "community_id_v1")
	for _, k := range []call{
		{args: []any{"foo", "1.1.1.1", 1, 2, 6}, err: "Community ID saddr cannot be parsed as IP"},
		{args: []any{"1.1.1.1", "foo", 1, 2, 6}, err: "Community ID daddr cannot be parsed as IP"},
		{args: []any{nil, "1.1.1.1", 1, 2, 6}, err: "Community ID IPs must be strings"},
		{args: []any{"1.1.1.1", 7, 1, 2, 6}, err: "Community ID IPs must be strings"},
		{args: []any{"1.1.1.1", "1.1.1.2", "1", 2, 6}, err: "Community ID ports must be integers"},
		{args: []any{"1.1.1.1", "1.1.1.2", 1, nil, 6}, err: "Community ID ports must be integers"},
		{args: []any{"1.1.1.1", "1.1.1.2", -1, 2, 6}, err: "Community ID ports must fit in 2 bytes"},
		{args: []any{"1.1.1.1", "1.1.1.2", 1, 65536, 6}, err: "Community ID ports must fit in 2 bytes"},
		{args: []any{"1.1.1.1", "1.1.1.2", 1, 2, "6"}, err: "Community ID protocol must be an integer"},
		{args: []any{"1.1.1.1", "1.1.1.2", 1, 2, 256}, err: "Community ID protocol must fit in 1 byte"},
		{args: []any{"1.1.1.1", "1.1.1.2", 1, 2, 6, "0"}, err: "Community ID seed must be an integer"},
		{args: []any{"1.1.1.1", "1.1.1.2", 1, 2, 6, 32768}, err: "Community ID seed must fit in 2 bytes"},
		{args: []any{"foo", "1.1.1.2", 1, 2, 6, -32769}, err: "Community ID seed must fit in 2 bytes"},
	} {
		check(t, "community_id_v1_strict", []call{k})
		c, warnings := newCall()
		v, err := lax.Eval(context.Background(), c, values(k.args))
		if err != nil || !v.IsNull() || len(*warnings) != 1 || (*warnings)[0] != k.err {
			t.Errorf("community_id_v1(%v) = %s, %v, warnings %q; want NULL and the warning %q", k.args, show(v), err, *warnings, k.err)
		}
	}
}

func FuzzCommunityID(f *testing.F) {
	f.Add("10.0.0.1", "::1", int64(1), int64(2), int64(6), int64(0))
	f.Fuzz(func(t *testing.T, a, b string, p, q, protocol, seed int64) {
		one, err := communityID(values([]any{a, b, p, q, protocol, seed}))
		if err != nil || protocol == protocolICMP || protocol == protocolICMPv6 {
			return
		}
		other, err := communityID(values([]any{b, a, q, p, protocol, seed}))
		if err != nil || one != other || len(one) != 30 {
			t.Errorf("%q and %q, %v for the two directions", one, other, err)
		}
	})
}
