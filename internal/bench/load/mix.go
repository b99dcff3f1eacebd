package load

// A Mix counts sockets by what they are.
type Mix struct {
	TCPListen4    int `json:"tcp_listen4"`
	TCPListen6    int `json:"tcp_listen6"`
	TCPConnected4 int `json:"tcp_connected4"` // both ends
	TCPConnected6 int `json:"tcp_connected6"` // both ends
	UDP4          int `json:"udp4"`
	UDP6          int `json:"udp6"`
	UnixListen    int `json:"unix_listen"` // bound to abstract names
	UnixStream    int `json:"unix_stream"` // both ends of pairs
	UnixDatagram  int `json:"unix_datagram"`
}

// mixOf divides n sockets as a busy host has them: half of them connected TCP,
// 5 % listeners, 15 % UDP, 30 % UNIX, one in five of IPv6. Without IPv6 its
// share is IPv4.
func mixOf(n int, ipv6 bool) Mix {
	rest := n
	take := func(sockets int) int {
		rest -= sockets
		return sockets
	}
	pairs := func(percent int) int { return n * percent / 200 * 2 }

	m := Mix{
		TCPListen4:    take(max(n*5/100, min(n, 1))),
		TCPConnected4: take(pairs(50)),
		UnixListen:    take(n * 2 / 100),
		UnixStream:    take(pairs(20)),
		UnixDatagram:  take(pairs(8)),
	}
	m.UDP4 = rest
	if !ipv6 {
		return m
	}
	m.TCPListen6 = m.TCPListen4 / 5
	if m.TCPListen6 > 0 {
		m.TCPConnected6 = m.TCPConnected4 / 10 * 2
	}
	m.UDP6 = m.UDP4 / 5
	m.TCPListen4 -= m.TCPListen6
	m.TCPConnected4 -= m.TCPConnected6
	m.UDP4 -= m.UDP6
	return m
}

// TCPListen is the number of listening TCP sockets.
func (m Mix) TCPListen() int { return m.TCPListen4 + m.TCPListen6 }

// Inet is the number of IPv4 and IPv6 sockets.
func (m Mix) Inet() int {
	return m.TCPListen() + m.TCPConnected4 + m.TCPConnected6 + m.UDP4 + m.UDP6
}

// Total is the number of sockets.
func (m Mix) Total() int { return m.Inet() + m.UnixListen + m.UnixStream + m.UnixDatagram }

// Plus adds the counts of two mixes.
func (m Mix) Plus(o Mix) Mix {
	return Mix{
		TCPListen4: m.TCPListen4 + o.TCPListen4, TCPListen6: m.TCPListen6 + o.TCPListen6,
		TCPConnected4: m.TCPConnected4 + o.TCPConnected4, TCPConnected6: m.TCPConnected6 + o.TCPConnected6,
		UDP4: m.UDP4 + o.UDP4, UDP6: m.UDP6 + o.UDP6,
		UnixListen: m.UnixListen + o.UnixListen, UnixStream: m.UnixStream + o.UnixStream, UnixDatagram: m.UnixDatagram + o.UnixDatagram,
	}
}
