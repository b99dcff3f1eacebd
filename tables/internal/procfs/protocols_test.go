package procfs

import (
	"testing"

	"sockql/tables/internal/socket"
)

func TestParseProtocols(t *testing.T) {
	const text = `protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re bi br ha uh gp em
PACKET    1600      1      -1   NI       0   no   kernel      n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n
MPTCPv6   2064      0   21079   no       0   yes  kernel      y  n  y  y  n  y  y  y  y  y  y  y  n  n  y  y  y  n
PINGv6    1344     -1      -1   NI       0   yes  kernel      y  y  y  n  n  y  n  n  y  y  y  y  y  y  y  y  y  n
RAWv6     1344      0
UDP       1344      x       0
UDP-Lite  1344
TCP       2304      0   21079   no     192   yes  kernel      y  y  y  y  y  y  y  y  y  y  y  y  y  n  y  y  y  y
RAW       1152      0      -1   NI       0   yes  kernel      y  y  y  n  y  y  y  n  y  y  y  y  y  n  y  y  y  n
`
	if got, want := parseProtocols([]byte(text)), socket.MPTCP6|socket.Raw6|socket.Raw4; got != want {
		t.Errorf("no sockets of %#x, want %#x", got, want)
	}
	if got := parseProtocols(nil); got != 0 {
		t.Errorf("no sockets of %#x in nothing", got)
	}
}
