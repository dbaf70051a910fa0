"""Enhancement of sound that is still going on, with a bounded look-ahead."""

from .online import OnlineEnhancer as OnlineEnhancer
