//go:build !unix

package soak

import "os"

var stackSignal = os.Kill
