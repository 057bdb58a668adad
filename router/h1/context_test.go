package h1

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRequestContext_endsWhatWasDerivedFromIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &requestContext{}
		early, late := c.Done(), &requestContext{}
		child, cancel := context.WithTimeout(context.WithValue(c, struct{ k int }{}, "v"), time.Hour)
		defer cancel()
		require.NoError(t, c.Err())
		c.cancel()
		c.cancel()
		<-early
		<-c.Done()
		<-child.Done()
		require.ErrorIs(t, c.Err(), context.Canceled)
		require.ErrorIs(t, context.Cause(child), context.Canceled)
		late.cancel()
		<-late.Done()
		_, is := c.Deadline()
		require.False(t, is)
	})
}

func TestRequestContext_runsWhatWasNotStoppedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ran := &requestContext{}, [4]atomic.Int32{}
		var stop [4]func() bool
		for i := range 3 {
			stop[i] = context.AfterFunc(c, func() { ran[i].Add(1) })
		}
		require.True(t, stop[1]())
		require.False(t, stop[1]())
		c.cancel()
		stop[3] = context.AfterFunc(c, func() { ran[3].Add(1) })
		synctest.Wait()
		for i := range stop {
			require.False(t, stop[i]())
			want := int32(1)
			if i == 1 {
				want = 0
			}
			require.Equal(t, want, ran[i].Load(), i)
		}
	})
}

// What was stopped once, and is stopped again, must not stop another.
func TestRequestContext_oneLegAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ran := &requestContext{}, 0
		before := c.AfterFunc(func() { t.Error("stopped, yet it ran") })
		require.True(t, before())
		stop := c.AfterFunc(func() { ran++ })
		require.False(t, before())
		c.cancel()
		synctest.Wait()
		require.Equal(t, 1, ran)
		require.False(t, stop())
	})
}
