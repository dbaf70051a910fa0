"""Pictures, by matplotlib (the extra ``plot``). Nothing outside of this folder imports matplotlib."""
