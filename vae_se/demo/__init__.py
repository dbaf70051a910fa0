"""A local web page that enhances a recording: ``vae-se demo``.

The modules in the order in which a request passes them: ``server`` (HTTP, on the standard library), ``guard``
(who may ask), ``jobs`` (one recording after the other, in the background), ``process`` (an uploaded file to the
files that the page shows), ``pictures`` (spectrograms as bytes for a canvas). ``static`` holds the page itself.
"""
