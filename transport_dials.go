package kcp

import (
	"context"
	"net"
	"net/netip"
	"reflect"
	"sync"
)

// dialName is Dial to a name, "host:port".
func (t *Transport) dialName(ctx context.Context, d *Dialer, network, address string) (net.Conn, error) {
	ctx, cancel := d.withTimeout(ctx)
	defer cancel()
	addr, err := t.resolveName(ctx, network, address)
	if err != nil {
		return nil, t.opError("dial", err)
	}
	s, err := t.Dial(ctx, d, addr)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// resolveName returns the first address of a name that the transport's socket can send to.
func (t *Transport) resolveName(ctx context.Context, network, address string) (addr net.Addr, err error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, network, service)
	if err != nil {
		return nil, err
	}
	if host == "" {
		return completeAddr(&net.UDPAddr{Port: port})
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip"+network[len("udp"):], host)
	if err != nil {
		return nil, err
	}
	for _, ip := range ips {
		addr, err = completeAddr(net.UDPAddrFromAddrPort(unmap(netip.AddrPortFrom(ip, uint16(port)))))
		if err == nil {
			err = t.socks[0].checkReach(addr)
		}
		if err == nil {
			return addr, nil
		}
	}
	return nil, err
}

// dialConfig is what the settings of the last Dial have come to, which the next one most likely has again:
// sessions share a config then, and nothing is derived from the cipher's key again.
type dialConfig struct {
	mu       sync.Mutex // guards all below
	settings Settings
	cfg      *config // nil before the first
}

// of returns the config of a Dialer's settings.
func (c *dialConfig) of(d *Dialer) (*config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg != nil && d.Timeout >= 0 && c.cfg.simultaneous == d.Simultaneous && sameSettings(c.settings, d.Settings) {
		return c.cfg, nil
	}
	cfg, err := d.resolve()
	if err != nil {
		return nil, err
	}
	if c.cfg, c.settings = cfg, d.Settings; d.Timing != nil {
		timing := *d.Timing // which may be changed
		c.settings.Timing = &timing
	}
	return cfg, nil
}

// sameSettings says whether two settings come to the same. Functions never do.
func sameSettings(a, b Settings) bool {
	if !same(a.Block, b.Block) || !same(a.KeyLog, b.KeyLog) {
		return false
	}
	a.Block, b.Block, a.KeyLog, b.KeyLog = nil, nil, nil, nil
	return reflect.DeepEqual(&a, &b)
}

// same says whether two values are one, and not only alike.
func same(a, b any) bool {
	if a == nil || b == nil {
		return a == b
	}
	return reflect.TypeOf(a).Comparable() && reflect.TypeOf(a) == reflect.TypeOf(b) && a == b
}
