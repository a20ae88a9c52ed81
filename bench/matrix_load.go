package main

import (
	"io"
	"slices"
	"sync/atomic"
	"time"
)

// runThin writes a small message every so often, and takes the p99 of how late they are read.
func (c *matrixCase) runThin(w *world, r *matrixResult) error {
	total := c.duration()
	conn, err := c.dial(w, total)
	if err != nil {
		return err
	}
	n := int(total / c.Every)
	start, failed := time.Now(), make(chan error, 2)
	go func() {
		b := make([]byte, c.Size)
		for i := range n {
			time.Sleep(time.Duration(i)*c.Every - time.Since(start))
			if _, err := conn.Write(b); err != nil {
				failed <- err
				return
			}
		}
	}()
	var received atomic.Int64
	all := make(chan []float64, 1)
	go func() {
		b := make([]byte, c.Size)
		late := make([]float64, n)
		for i := range n {
			if _, err := io.ReadFull(conn, b); err != nil {
				failed <- err
				return
			}
			received.Add(int64(c.Size))
			late[i] = ms(time.Since(start) - time.Duration(i)*c.Every)
		}
		all <- late
	}()
	samples, err := watch(w, conn, total, &received, failed)
	if err != nil {
		return err
	}
	select {
	case r.All = <-all:
	case err := <-failed:
		return err
	}
	r.keep(samples)
	r.Seconds, r.Ideal = total.Seconds(), ms(c.idealThin())
	r.Time = percentile(r.All, 99)
	r.Ratio = r.Time / r.Ideal
	return nil
}

// runAnswers makes sessions one after another. Each exchanges a byte when it opens, and then requests
// for answers.
func (c *matrixCase) runAnswers(w *world, r *matrixResult) error {
	start := time.Now()
	if err := c.begin(w, time.Hour); err != nil {
		return err
	}
	var first []float64
	for range answerSessions {
		conn, err := w.dial(c.opener(), time.Hour)
		if err != nil {
			return err
		}
		times, err := c.exchange(conn)
		if err != nil {
			return err
		}
		first = append(first, times[0])
		r.All = append(r.All, times...)
		conn.close()
	}
	r.Seconds, r.Ideal = time.Since(start).Seconds(), ms(c.idealAnswer())
	r.Time, r.First = percentile(r.All, 50), percentile(first, 50)
	r.Ratio = r.Time / r.Ideal
	return nil
}

// exchange makes the exchanges of a session, and returns the time of each in ms.
func (c *matrixCase) exchange(conn *conn) (times []float64, err error) {
	failed := make(chan error, 1)
	request := make([]byte, 100)
	go func() {
		question, answer := make([]byte, len(request)), make([]byte, c.Size)
		for range answerExchanges {
			if _, err := io.ReadFull(conn.near, question); err != nil {
				failed <- err
				return
			}
			if _, err := conn.near.Write(answer); err != nil {
				failed <- err
				return
			}
		}
	}()
	b := make([]byte, c.Size)
	for range answerExchanges {
		begin := time.Now()
		if _, err := conn.far.Write(request); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(conn.far, b); err != nil {
			return nil, err
		}
		times = append(times, ms(time.Since(begin)))
		time.Sleep(c.Every)
	}
	select {
	case err = <-failed:
	default:
	}
	return times, err
}

// percentile returns the value that percent of values are at most.
func percentile(values []float64, percent int) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)*percent/100]
}
