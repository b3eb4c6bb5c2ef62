"""
What EnOS understands: values, messages, signatures, and the order of calls.

Nothing here imports Airflow or opens a socket, and only the drivers in ``transport`` read a clock.
"""
