package nftables

import (
	"context"

	"sockql/tables/internal/netlink"
	"sockql/tables/internal/recording"
)

// Record asks for everything that the chains and rules of a namespace take to
// be written, and returns the requests with the answers as they came. It fails
// like [Conn.Chains]. The transport is not closed.
func Record(ctx context.Context, t netlink.Transport) ([]recording.Exchange, error) {
	tap := &netlink.Tap{Transport: t}
	c := New(tap)
	if _, err := c.Chains(ctx); err != nil {
		return nil, err
	}
	rules, err := c.Rules(ctx)
	for i := range rules {
		if err != nil {
			break
		}
		_, err = c.Text(ctx, &rules[i])
	}
	return tap.Exchanges, err
}
