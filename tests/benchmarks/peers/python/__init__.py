"""An upload service as a Python team writes it: FastAPI, SQLAlchemy, Celery, boto3 and Pillow."""
