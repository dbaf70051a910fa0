"""Enhancement of one recording, from samples to samples: whole, longer than memory, or as a stream.

The modules in the order in which a recording passes them: ``enhancer`` (the facade), ``pipeline`` (the steps),
``sample_buffer``, ``channel`` (analysis and synthesis at the prior's level), ``segmented_em`` with
``segments``, ``residual_noise``, ``results``. ``long_file`` runs the same steps from file to file, ``online``
and ``sliding_window`` run EM on a window that moves over a stream, ``shared_noise`` learns one noise from
several recordings.
"""
